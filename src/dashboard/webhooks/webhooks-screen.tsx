import { Anchor, Box, Button, Group, Modal, Paper, Skeleton, Stack, Text, Title } from '@mantine/core';
import { useState } from 'react';
import { useQuery } from 'urql';
import { Link } from 'wouter';
import { parseError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { RelativeTime } from '../relative-time.tsx';
import { type OptionalProjectId, webhookPath } from '../route.ts';
import classes from '../table.module.css';
import { useTitle } from '../use-title.ts';
import { EndpointForm, isForPeople } from './endpoint-form.tsx';
import { EndpointStatus } from './endpoint-status.tsx';
import { createEndpointMutation, type Endpoint, endpointsQuery } from './operations.ts';
import { SecretNote } from './secret-note.tsx';
import { useCanWriteWebhooks, WebhookAccess } from './webhook-access.tsx';

interface WebhooksScreenProps {
  projectId: OptionalProjectId;
  projects: readonly { id: string; name: string }[];
}

/** The webhook endpoints of the organisation. */
export default function WebhooksScreen(props: WebhooksScreenProps) {
  useTitle('Webhooks');
  const [isAdding, setIsAdding] = useState(false);
  const canWrite = useCanWriteWebhooks();
  return (
    <>
      <Group justify="space-between" mb="md">
        <div>
          <Title order={1} size="h2">
            Webhooks
          </Title>
          <Text size="sm" c="dimmed">
            Endpoints of the organisation that are told when connections change, fail or recover.
          </Text>
        </div>
        {canWrite && <Button onClick={() => setIsAdding(true)}>Add endpoint</Button>}
      </Group>
      <WebhookAccess>
        <Endpoints {...props} isAdding={isAdding} onClose={() => setIsAdding(false)} />
      </WebhookAccess>
    </>
  );
}

interface EndpointsProps extends WebhooksScreenProps {
  isAdding: boolean;
  onClose(): void;
}

function Endpoints({ projectId, projects, isAdding, onClose }: EndpointsProps) {
  const [{ data, error }, refetch] = useQuery({ query: endpointsQuery, requestPolicy: 'cache-and-network' });
  const reload = () => refetch({ requestPolicy: 'network-only' });
  const endpoints = data?.webhookEndpoints;
  return (
    <>
      {error && <ErrorAlert apiError={parseError(error)} onRetry={reload} />}
      {!endpoints && !error && (
        <Stack role="status" aria-label="Loading">
          <Skeleton h={48} />
          <Skeleton h={48} />
        </Stack>
      )}
      {endpoints && endpoints.length > 0 && <EndpointsTable projectId={projectId} endpoints={endpoints} />}
      {endpoints?.length === 0 && (
        <Paper withBorder p="xl" ta="center" role="status">
          <Title order={2} size="h4">
            No endpoints yet
          </Title>
          <Text c="dimmed" mt="xs">
            An endpoint is an address of yours to which this server sends an event for each change of a
            connection.
          </Text>
        </Paper>
      )}
      {isAdding && <AddDialog projects={projects} onAdded={reload} onClose={onClose} />}
    </>
  );
}

function EndpointsTable({
  projectId,
  endpoints,
}: {
  projectId: OptionalProjectId;
  endpoints: readonly Endpoint[];
}) {
  return (
    <table className={classes.table} aria-label="Webhook endpoints">
      <thead>
        <tr>
          <th>URL</th>
          <Box component="th" visibleFrom="sm">
            Status
          </Box>
          <Box component="th" visibleFrom="md">
            Last delivery
          </Box>
        </tr>
      </thead>
      <tbody>
        {endpoints.map((endpoint) => (
          <tr key={endpoint.id}>
            <th scope="row">
              <Anchor
                component={Link}
                href={webhookPath(projectId, endpoint.id)}
                fw={600}
                style={{ overflowWrap: 'anywhere' }}
              >
                {endpoint.url}
              </Anchor>
              {endpoint.description && (
                <Text size="sm" c="dimmed" fw={400} lineClamp={3} style={{ overflowWrap: 'anywhere' }}>
                  {endpoint.description}
                </Text>
              )}
              <Box hiddenFrom="sm" fw={400} mt={4}>
                <StatusSince endpoint={endpoint} />
              </Box>
            </th>
            <Box component="td" className={classes.short} visibleFrom="sm">
              <StatusSince endpoint={endpoint} />
            </Box>
            <Box component="td" className={classes.short} visibleFrom="md">
              {endpoint.lastSuccessAt ? <RelativeTime at={endpoint.lastSuccessAt} /> : 'Never'}
            </Box>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function StatusSince({ endpoint }: { endpoint: Endpoint }) {
  const since = endpoint.disabledAt ?? endpoint.failingSince;
  return (
    <>
      <EndpointStatus endpoint={endpoint} />
      {since && (
        <Text size="xs" c="dimmed" mt={4}>
          since <RelativeTime at={since} />
        </Text>
      )}
    </>
  );
}

interface AddDialogProps {
  projects: WebhooksScreenProps['projects'];
  onAdded(): void;
  onClose(): void;
}

function AddDialog({ projects, onAdded, onClose }: AddDialogProps) {
  const [created, setCreated] = useState<{ endpoint: Pick<Endpoint, 'url' | 'format'>; secret: string }>();
  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={created ? 'Endpoint added' : 'Add endpoint'}
      closeOnClickOutside={!created}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {created ? (
        <Stack>
          <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
            {created.endpoint.url} gets the events from now on.
          </Text>
          {!isForPeople(created.endpoint.format) && <SecretNote secret={created.secret} />}
          <Group justify="end">
            <Button onClick={onClose}>Done</Button>
          </Group>
        </Stack>
      ) : (
        <EndpointForm
          projects={projects}
          mutation={createEndpointMutation}
          toVariables={(input) => ({ input })}
          action="Add"
          onClose={onClose}
          onDone={({ outcome }) => {
            onAdded();
            if (outcome) setCreated(outcome);
          }}
        />
      )}
    </Modal>
  );
}
