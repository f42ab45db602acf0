import { Button, Group, Paper, Skeleton, Stack, Text, Title } from '@mantine/core';
import type { VariablesOf } from 'gql.tada';
import { useCallback, useMemo, useState } from 'react';
import { useQuery } from 'urql';
import { Link } from 'wouter';
import { formatCount } from '../../common/format-count.ts';
import { parseError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { useHashQuery } from '../hash-location.ts';
import { listQuery } from '../operations.ts';
import { connectionsPath, type OptionalProjectId } from '../route.ts';
import { useSession } from '../session/session.ts';
import { useOptions } from '../use-options.ts';
import { useTitle } from '../use-title.ts';
import { Filters } from './filters.tsx';
import { formatListParams, parseListParams } from './list-params.ts';
import { ConnectionsTable } from './table.tsx';
import { useActions } from './use-actions.tsx';
import { useConnectionEvents } from './use-connection-events.ts';

const pageSize = 20;
type Page = Pick<VariablesOf<typeof listQuery>, 'first' | 'after' | 'last' | 'before'>;
const firstPage: Page = { first: pageSize };

/** The list of the connections of a project, kept up to date. */
export function ListScreen({ projectId }: { projectId: OptionalProjectId }) {
  useTitle('App Connections');
  const { scopes } = useSession().viewer;
  const [filters, setFilters] = useHashQuery();
  const params = useMemo(() => parseListParams(filters), [filters]);
  const [paged, setPaged] = useState({ filters, page: firstPage });
  // Another filter has other pages.
  const page = paged.filters === filters ? paged.page : firstPage;
  const setPage = (next: Page) => setPaged({ filters, page: next });
  const [{ data, error }, refetch] = useQuery({
    query: listQuery,
    variables: { projectId, ...params, ...page },
    requestPolicy: 'cache-and-network',
  });
  const { options = [] } = useOptions();
  const reload = useCallback(() => refetch({ requestPolicy: 'network-only' }), [refetch]);
  const isLive = useConnectionEvents(projectId, reload);
  const { verifying, act, dialogs, outcome } = useActions(options);

  const list = data?.appConnections;
  const isFiltered = Object.values(params.filter).some(Boolean);
  const canAdd = scopes.includes('CONNECTIONS_WRITE');
  const add = (
    <Button component={Link} href={`${connectionsPath(projectId)}/add`}>
      Add Connection
    </Button>
  );
  // The last connection of the last page may have been deleted.
  if (list?.nodes.length === 0 && list.totalCount > 0 && page !== firstPage) setPage(firstPage);
  return (
    <>
      <Group justify="space-between" mb="md">
        <div>
          <Title order={1} size="h2">
            App Connections
          </Title>
          <Text size="sm" c="dimmed" role="status">
            {isLive ? 'Live updates are on.' : 'Live updates are off. The list refreshes every 10 seconds.'}
          </Text>
        </div>
        {canAdd && add}
      </Group>
      {outcome}
      <Filters
        params={params}
        options={options}
        onChange={(next, isStep) => setFilters(formatListParams(next), isStep)}
      />
      {error && <ErrorAlert apiError={parseError(error)} onRetry={reload} />}
      {!list && !error && (
        <Stack role="status" aria-label="Loading">
          <Skeleton h={48} />
          <Skeleton h={48} />
          <Skeleton h={48} />
        </Stack>
      )}
      {list && list.nodes.length > 0 && (
        <>
          <ConnectionsTable connections={list.nodes} options={options} verifying={verifying} onAction={act} />
          <Group justify="space-between" mt="md">
            <Text size="sm" c="dimmed" role="status">
              {formatCount(list.totalCount, 'connection')}
            </Text>
            {(list.pageInfo.hasPreviousPage || list.pageInfo.hasNextPage) && (
              <Group component="nav" aria-label="Pages">
                <Button
                  variant="default"
                  disabled={!list.pageInfo.hasPreviousPage}
                  onClick={() => setPage({ last: pageSize, before: list.pageInfo.startCursor })}
                >
                  Previous
                </Button>
                <Button
                  variant="default"
                  disabled={!list.pageInfo.hasNextPage}
                  onClick={() => setPage({ first: pageSize, after: list.pageInfo.endCursor })}
                >
                  Next
                </Button>
              </Group>
            )}
          </Group>
        </>
      )}
      {list?.totalCount === 0 && (
        <Paper withBorder p="xl" ta="center" role="status">
          <Title order={2} size="h4">
            {isFiltered ? 'No matching connections' : 'No connections yet'}
          </Title>
          <Text c="dimmed" mt="xs" mb={canAdd && !isFiltered ? 'md' : 0}>
            {isFiltered
              ? 'Change the search or the filters.'
              : 'A connection lets this product work with another one, such as Okta, on behalf of your organisation.'}
          </Text>
          {canAdd && !isFiltered && add}
        </Paper>
      )}
      {dialogs}
    </>
  );
}
