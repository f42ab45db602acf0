import { Text } from '@mantine/core';
import type { ResultOf } from 'gql.tada';
import { useQuery } from 'urql';
import { describeCaller } from './callers-table.tsx';
import { usersQuery } from './operations.ts';
import { RelativeTime } from './relative-time.tsx';
import classes from './table.module.css';

const number = new Intl.NumberFormat('en-GB');

type ConnectionUser = NonNullable<ResultOf<typeof usersQuery>['appConnection']>['usedBy'][number];

/** Loads who uses a connection. */
export function useConnectionUsers(connectionId: string) {
  const [{ data, error }] = useQuery({
    query: usersQuery,
    variables: { id: connectionId },
    requestPolicy: 'network-only',
  });
  return { users: data?.appConnection?.usedBy, error };
}

/** Who uses a connection. */
export function ConnectionUsers({ users, error }: ReturnType<typeof useConnectionUsers>) {
  return (
    <div role="status">
      {!users && !error && <Text size="sm">Looking for callers that use it…</Text>}
      {error && <Text size="sm">Who uses it could not be read.</Text>}
      {users?.length === 0 && <Text size="sm">Nobody has used it in the last 90 days.</Text>}
      {users && users.length > 0 && (
        <>
          <Text size="sm">It was used in the last 90 days by:</Text>
          <UsersTable users={users} />
        </>
      )}
    </div>
  );
}

/** The users of a connection, those that used it last first. */
function UsersTable({ users }: { users: readonly ConnectionUser[] }) {
  return (
    <table className={classes.table} aria-label="Used by">
      <thead>
        <tr>
          <th>Caller</th>
          <th>Program</th>
          <th>Requests</th>
          <th>Last use</th>
        </tr>
      </thead>
      <tbody>
        {users.map(({ caller, label, calls, lastUsedAt }) => (
          <tr key={`${caller?.keyId} ${caller?.subject} ${label}`}>
            <th scope="row" style={{ overflowWrap: 'anywhere' }}>
              {describeCaller(caller)}
            </th>
            <td style={{ overflowWrap: 'anywhere' }}>{label ?? '–'}</td>
            <td>{number.format(calls)}</td>
            <td>
              <RelativeTime at={lastUsedAt} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
