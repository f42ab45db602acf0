import { Button, Group, Text } from '@mantine/core';
import { useQuery } from 'urql';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import { usersQuery } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';
import { useSession } from '../session/session.ts';
import classes from '../table.module.css';
import { describeActor, toWords, useAuditEvents } from '../use-audit-events.ts';
import { MissingScope } from './missing-scope.tsx';

/** The last writes through a connection. */
export function WritesTab({ connectionId }: { connectionId: string }) {
  const { scopes } = useSession().viewer;
  if (!scopes.includes('AUDIT_READ')) {
    return <MissingScope scope="audit:read" action="see the writes through this connection" />;
  }
  return <Writes connectionId={connectionId} />;
}

/** The names of the API keys that have used a connection lately, by id: audit events have the ids only. */
function useKeyNames(connectionId: string): { keyNames: ReadonlyMap<string, string>; reload: () => void } {
  const [{ data }, refetch] = useQuery({
    query: usersQuery,
    variables: { id: connectionId },
    requestPolicy: 'cache-and-network',
  });
  const users = data?.appConnection?.usedBy ?? [];
  const keyNames = new Map(
    users.flatMap(({ caller }) => (caller?.keyId && caller.name ? [[caller.keyId, caller.name]] : [])),
  );
  return { keyNames, reload: refetch };
}

function Writes({ connectionId }: { connectionId: string }) {
  const { events, apiError, loadMore, reload } = useAuditEvents(connectionId, { writesOnly: true });
  const { keyNames, reload: reloadNames } = useKeyNames(connectionId);
  const refresh = () => {
    reload();
    reloadNames();
  };
  return (
    <>
      <Text size="sm" c="dimmed" mb="md">
        Each POST, PUT, PATCH and DELETE is recorded in the audit trail, without the values of the query and
        without the body. Reads are counted.
      </Text>
      {apiError && <ErrorAlert apiError={apiError} onRetry={reload} />}
      {!events && !apiError && <Loading />}
      {events && events.length > 0 && (
        <table className={classes.table} aria-label="Recent writes">
          <thead>
            <tr>
              <th>Request</th>
              <th>Status</th>
              <th>Caller</th>
              <th>Time</th>
            </tr>
          </thead>
          <tbody>
            {events.map((event) => {
              const { seq, at, outcome, use } = event;
              const query = use?.queryParameters.length ? `?${use.queryParameters.join('&')}` : '';
              return (
                <tr key={seq}>
                  <th scope="row" style={{ overflowWrap: 'anywhere', fontWeight: 400 }}>
                    {use?.method} {use?.path}
                    {query}
                    {outcome !== 'OK' && (
                      <Text size="sm" c="var(--mantine-color-error)">
                        {toWords(outcome)}
                      </Text>
                    )}
                  </th>
                  <td>{use?.status ?? '–'}</td>
                  <td style={{ overflowWrap: 'break-word' }}>{describeActor(event, keyNames)}</td>
                  <td>
                    <RelativeTime at={at} />
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {events?.length === 0 && !loadMore && (
        <Text role="status">Nothing was written through this connection yet.</Text>
      )}
      <Group mt="md">
        {loadMore && (
          <Button variant="default" onClick={loadMore}>
            Show older writes
          </Button>
        )}
        <Button variant="default" onClick={refresh}>
          Refresh
        </Button>
      </Group>
    </>
  );
}
