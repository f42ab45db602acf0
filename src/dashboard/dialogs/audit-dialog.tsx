import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import type { ResultOf } from 'gql.tada';
import { useEffect, useState } from 'react';
import { useClient } from 'urql';
import { type ApiError, parseError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import { auditQuery, type Connection } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';
import classes from '../table.module.css';

type Event = ResultOf<typeof auditQuery>['auditEvents']['nodes'][number];

/** The audit events of a connection, newest first. */
export default function AuditDialog({ connection, onClose }: { connection: Connection; onClose(): void }) {
  const { id, name } = connection;
  const client = useClient();
  const [events, setEvents] = useState<readonly Event[]>([]);
  const [after, setAfter] = useState<string | null>(null);
  const [next, setNext] = useState<string | null>();
  const [apiError, setApiError] = useState<ApiError>();

  useEffect(() => {
    let isCurrent = true;
    const variables = { connectionId: id, after };
    client.query(auditQuery, variables, { requestPolicy: 'network-only' }).then(({ data, error }) => {
      if (!isCurrent) return;
      if (error) setApiError(parseError(error));
      if (!data) return;
      const { nodes, pageInfo } = data.auditEvents;
      setEvents((before) => (after === null ? nodes : [...before, ...nodes]));
      setNext(pageInfo.hasNextPage ? pageInfo.endCursor : null);
    });
    return () => {
      isCurrent = false;
    };
  }, [client, id, after]);

  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={`Audit trail of ${name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {apiError && <ErrorAlert apiError={apiError} />}
      {!apiError && next === undefined && <Loading />}
      <Stack component="ul" p={0} m={0} gap="md" className={classes.plain} aria-label="Events">
        {events.map(({ seq, at, action, outcome, changedFields, subject, keyId, address }) => (
          <li key={seq}>
            <Group justify="space-between" gap="xs">
              <Text fw={600}>
                {toWords(action)}: {outcome === 'OK' ? 'done' : toWords(outcome).toLowerCase()}
              </Text>
              <Text size="sm" c="dimmed">
                <RelativeTime at={at} />
              </Text>
            </Group>
            {changedFields.length > 0 && <Text size="sm">Changed: {changedFields.join(', ')}</Text>}
            <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
              By {subject ?? (keyId ? `API key ${keyId}` : 'the server')}
              {address && `, from ${address}`}
            </Text>
          </li>
        ))}
      </Stack>
      {next && (
        <Button variant="default" mt="md" onClick={() => setAfter(next)}>
          Show more
        </Button>
      )}
    </Modal>
  );
}

/** `CREATE_CONNECTION` as `Create connection`. */
function toWords(value: string): string {
  const words = value.toLowerCase().replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
