import { Text } from '@mantine/core';
import classes from '../table.module.css';
import type { Rule } from './operations.ts';

/** The rules of a policy, which cannot be changed here. */
export function RulesTable({ rules }: { rules: readonly Rule[] }) {
  if (rules.length === 0) return <Text size="sm">There are no rules: every request is denied.</Text>;
  return (
    <table className={classes.table} aria-label="Rules">
      <thead>
        <tr>
          <th>Rule</th>
          <th>Effect</th>
          <th>Methods</th>
          <th>Path</th>
        </tr>
      </thead>
      <tbody>
        {rules.map(({ effect, methods, path }, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: The rules of this table do not change their places.
          <tr key={index}>
            <td>{index + 1}</td>
            <td>{effect === 'ALLOW' ? 'Allow' : 'Deny'}</td>
            <td>{methods?.join(', ') ?? 'All'}</td>
            <td style={{ overflowWrap: 'anywhere' }}>{path}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
