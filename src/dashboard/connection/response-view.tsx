import { Badge, Button, Code, Group, Stack, Text, Title } from '@mantine/core';
import { Dot } from '../list/status.tsx';
import classes from '../table.module.css';
import type { AppResponse } from './operations.ts';

const time = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

interface ResponseViewProps {
  response: AppResponse;
  appName: string;
  /** Sends the request for the next page; absent after a request that has none. */
  onNext: (() => void) | undefined;
}

/** The response of the app: status, rate limit, headers and body. */
export function ResponseView({ response, appName, onNext }: ResponseViewProps) {
  const { status, headers, body, truncated, rateLimit } = response;
  return (
    <Stack component="section" gap="sm" aria-label="Response">
      <Group gap="sm" role="status">
        <Title order={3} size="h5">
          Response of {appName}
        </Title>
        <Badge variant="default" size="lg" leftSection={<Dot color={statusColor(status)} />}>
          {status}
        </Badge>
      </Group>
      {rateLimit && (
        <Text size="sm">
          Rate limit of {appName}: {rateLimit.remaining} of {rateLimit.limit} requests are left until{' '}
          {time.format(new Date(rateLimit.resetAt))}.
        </Text>
      )}
      {truncated && <Text size="sm">The body is longer than 1 MiB. This is the beginning.</Text>}
      {body === null ? (
        <Text size="sm">The response has no body.</Text>
      ) : (
        <Code
          block
          tabIndex={0}
          role="region"
          aria-label="Body of the response"
          className={classes.code}
          mah="70dvh"
          style={{ overflow: 'auto' }}
        >
          {typeof body === 'string' ? body : JSON.stringify(body, null, 2)}
        </Code>
      )}
      {onNext && (
        <Button variant="default" onClick={onNext} style={{ alignSelf: 'start' }}>
          Next page
        </Button>
      )}
      <details>
        <summary>Headers ({headers.length})</summary>
        <table className={classes.table} aria-label="Headers of the response">
          <tbody>
            {headers.map(({ name, value }, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: A name can occur more than once.
              <tr key={index}>
                <th scope="row" style={{ overflowWrap: 'anywhere' }}>
                  {name}
                </th>
                <td style={{ overflowWrap: 'anywhere' }}>{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </Stack>
  );
}

function statusColor(status: number): string {
  if (status < 300) return 'green';
  return status < 400 ? 'gray' : 'red';
}
