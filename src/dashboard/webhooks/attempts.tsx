import { Box, Text } from '@mantine/core';
import { RelativeTime } from '../relative-time.tsx';
import classes from '../table.module.css';
import type { Message } from './operations.ts';

type Attempt = Message['attempts'][number];

const number = new Intl.NumberFormat('en-GB');

/** The number of attempts to deliver a message, and the result of the last one. */
export function describeAttempts({ attempts }: Message): string {
  const last = attempts.at(-1);
  if (!last) return 'not tried yet';
  return `${attempts.length === 1 ? 'tried once' : `tried ${attempts.length} times`}: ${describeResult(last)}`;
}

/** The log of the attempts of a message. */
export function Attempts({ message: { attempts, webhookId } }: { message: Message }) {
  return (
    <details>
      <summary>Attempts</summary>
      <Box style={{ overflowX: 'auto' }} tabIndex={0} role="region" aria-label={`Attempts of ${webhookId}`}>
        <table className={classes.table} aria-label={`Attempts of ${webhookId}`}>
          <thead>
            <tr>
              <th>Time</th>
              <th>Result</th>
              <th>Duration</th>
            </tr>
          </thead>
          <tbody>
            {attempts.map((attempt) => (
              <tr key={attempt.at}>
                <th scope="row" style={{ fontWeight: 400 }}>
                  <RelativeTime at={attempt.at} />
                </th>
                <td>{describeResult(attempt)}</td>
                <td className={classes.short}>{number.format(attempt.durationMs)} ms</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Box>
      <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
        webhook-id: {webhookId}
      </Text>
    </details>
  );
}

function describeResult({ status, error }: Attempt): string {
  return status === null ? (error ?? 'no response') : `HTTP status ${status}`;
}
