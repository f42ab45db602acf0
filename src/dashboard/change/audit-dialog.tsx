import { Button, Loader, Modal, Stack, Table, Text } from '@mantine/core';
import type { ResultOf } from 'gql.tada';
import { useEffect, useState } from 'react';
import { useClient } from 'urql';
import { Ago } from '../ago.tsx';
import { auditQuery, type Connection } from '../operations.ts';
import { type Problem, problemOf } from '../problem.ts';
import { ProblemAlert } from '../problem-alert.tsx';

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
      size="xl"
      title={`Audit trail of ${name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {problem && <ProblemAlert problem={problem} />}
      {!problem && next === undefined && <Loader aria-label="Loading" />}
      <Table.ScrollContainer minWidth={520} type="native" tabIndex={0} role="region" aria-label="Events">
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>When</Table.Th>
              <Table.Th>What</Table.Th>
              <Table.Th>Outcome</Table.Th>
              <Table.Th>Changed</Table.Th>
              <Table.Th>By</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {events.map(({ seq, at, action, outcome, changedFields, subject, keyId, address }) => (
              <Table.Tr key={seq}>
                <Table.Td>
                  <Ago at={at} />
                </Table.Td>
                <Table.Td>{inWords(action)}</Table.Td>
                <Table.Td>{outcome === 'OK' ? 'Done' : inWords(outcome)}</Table.Td>
                <Table.Td>{changedFields.join(', ')}</Table.Td>
                <Table.Td>
                  <Stack gap={0}>
                    <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
                      {subject ?? (keyId ? `API key ${keyId}` : 'the server')}
                    </Text>
                    {address && (
                      <Text size="xs" c="dimmed">
                        from {address}
                      </Text>
                    )}
                  </Stack>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
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
