import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import type { ResultOf } from 'gql.tada';
import { useEffect, useState } from 'react';
import { useClient } from 'urql';
import { type Problem, problemOf } from '../api-error.ts';
import { ProblemAlert } from '../error-alert.tsx';
import { Waiting } from '../loading.tsx';
import { auditQuery, type Connection } from '../operations.ts';
import { Ago } from '../relative-time.tsx';
import classes from '../table.module.css';

type Event = ResultOf<typeof auditQuery>['auditEvents']['nodes'][number];

/** What was done with a connection, and by whom; the newest first. */
export default function AuditDialog({ connection, onClose }: { connection: Connection; onClose(): void }) {
  const { id, name } = connection;
  const client = useClient();
  const [events, setEvents] = useState<readonly Event[]>([]);
  const [after, setAfter] = useState<string | null>(null);
  const [next, setNext] = useState<string | null>();
  const [problem, setProblem] = useState<Problem>();

  useEffect(() => {
    let isWanted = true;
    const variables = { connectionId: id, after };
    client.query(auditQuery, variables, { requestPolicy: 'network-only' }).then(({ data, error }) => {
      if (!isWanted) return;
      if (error) setProblem(problemOf(error));
      if (!data) return;
      const { nodes, pageInfo } = data.auditEvents;
      setEvents((before) => (after === null ? nodes : [...before, ...nodes]));
      setNext(pageInfo.hasNextPage ? pageInfo.endCursor : null);
    });
    return () => {
      isWanted = false;
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
      {problem && <ProblemAlert problem={problem} />}
      {!problem && next === undefined && <Waiting />}
      <Stack component="ul" p={0} m={0} gap="md" className={classes.plain} aria-label="Events">
        {events.map(({ seq, at, action, outcome, changedFields, subject, keyId, address }) => (
          <li key={seq}>
            <Group justify="space-between" gap="xs">
              <Text fw={600}>
                {inWords(action)}: {outcome === 'OK' ? 'done' : inWords(outcome).toLowerCase()}
              </Text>
              <Text size="sm" c="dimmed">
                <Ago at={at} />
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
function inWords(value: string): string {
  const words = value.toLowerCase().replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
