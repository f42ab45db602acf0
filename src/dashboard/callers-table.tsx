import type { Usage } from './connection/operations.ts';
import classes from './table.module.css';

const number = new Intl.NumberFormat('en-GB');

type UsageOfCaller = Usage['callers'][number];

/** The callers that have used a connection, with most calls first. */
export function CallersTable({ callers }: { callers: readonly UsageOfCaller[] }) {
  return (
    <table className={classes.table} aria-label="Callers">
      <thead>
        <tr>
          <th>Caller</th>
          <th>Requests</th>
          <th>Refused or not answered</th>
        </tr>
      </thead>
      <tbody>
        {callers.map(({ caller, calls, failedCalls }) => (
          <tr key={caller?.keyId ?? caller?.subject ?? ''}>
            <th scope="row" style={{ overflowWrap: 'break-word' }}>
              {describeCaller(caller)}
            </th>
            <td>{number.format(calls)}</td>
            <td>{number.format(failedCalls)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The name of a caller; null stands for all that are not listed. */
export function describeCaller(caller: UsageOfCaller['caller']): string {
  if (!caller) return 'All others';
  return caller.name ?? caller.subject ?? `API key ${caller.keyId}`;
}
