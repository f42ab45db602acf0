import { Alert, Anchor, Center, Stack, Text, Title } from '@mantine/core';
import { useQuery } from 'urql';
import { Link } from 'wouter';
import { parseError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import { RelativeTime } from '../relative-time.tsx';
import { type OptionalProjectId, webhooksPath } from '../route.ts';
import classes from '../table.module.css';
import { useTitle } from '../use-title.ts';
import { Deliveries } from './deliveries.tsx';
import { EndpointActions } from './endpoint-actions.tsx';
import { formats } from './endpoint-form.tsx';
import { EndpointStatus } from './endpoint-status.tsx';
import { eventLabels } from './event-labels.ts';
import { type Endpoint, endpointQuery } from './operations.ts';
import { WebhookAccess } from './webhook-access.tsx';

interface EndpointScreenProps {
  projectId: OptionalProjectId;
  projects: readonly { id: string; name: string }[];
  id: string;
}

/** A webhook endpoint: what it gets, what can be done with it, and what was sent to it. */
export default function EndpointScreen(props: EndpointScreenProps) {
  useTitle('Webhook endpoint');
  return (
    <>
      <Anchor component={Link} href={webhooksPath(props.projectId)} size="sm">
        ← All endpoints
      </Anchor>
      <WebhookAccess>
        <LoadedEndpoint {...props} />
      </WebhookAccess>
    </>
  );
}

function LoadedEndpoint({ projectId, projects, id }: EndpointScreenProps) {
  const [{ data, error }, refetch] = useQuery({
    query: endpointQuery,
    variables: { id },
    requestPolicy: 'cache-and-network',
  });
  const reload = () => refetch({ requestPolicy: 'network-only' });
  const apiError = error && parseError(error);
  if (apiError?.code === 'NOT_FOUND') {
    return (
      <Alert color="gray" role="alert" mt="md" title="There is no such endpoint">
        It was deleted.
      </Alert>
    );
  }
  if (apiError) return <ErrorAlert apiError={apiError} onRetry={reload} />;
  const endpoint = data?.webhookEndpoint;
  if (!endpoint) {
    return (
      <Center p="xl">
        <Loading />
      </Center>
    );
  }
  return (
    <Stack mt="xs">
      <div>
        <Title order={1} size="h2" style={{ overflowWrap: 'anywhere' }}>
          {endpoint.url}
        </Title>
        {endpoint.description && <Text c="dimmed">{endpoint.description}</Text>}
      </div>
      <EndpointActions endpoint={endpoint} projectId={projectId} projects={projects} onChanged={reload} />
      {endpoint.disabledAt && (
        <Alert color="gray" role="note" title="The endpoint is disabled">
          It gets no events. It was disabled by a caller, after three days without a delivery, or because the
          receiver answered 410. Events of the meantime are in the audit trail only.
        </Alert>
      )}
      <Facts endpoint={endpoint} projects={projects} />
      <Deliveries endpoint={endpoint} projectId={projectId} onChanged={reload} />
    </Stack>
  );
}

function Facts({ endpoint, projects }: { endpoint: Endpoint; projects: EndpointScreenProps['projects'] }) {
  const { eventTypes, projectIds, format, createdAt, previousSecretUntil } = endpoint;
  const { disabledAt, failingSince, lastSuccessAt } = endpoint;
  const since = disabledAt ?? failingSince;
  const names = projectIds?.map((id) => projects.find((project) => project.id === id)?.name ?? id);
  const isInTransition = previousSecretUntil && new Date(previousSecretUntil) > new Date();
  return (
    <dl className={classes.facts}>
      <div>
        <dt>Status</dt>
        <dd>
          <EndpointStatus endpoint={endpoint} />
        </dd>
      </div>
      {since && (
        <div>
          <dt>{disabledAt ? 'Disabled' : 'Failing since'}</dt>
          <dd>
            <RelativeTime at={since} />
          </dd>
        </div>
      )}
      <div>
        <dt>Last delivery</dt>
        <dd>{lastSuccessAt ? <RelativeTime at={lastSuccessAt} /> : 'Never'}</dd>
      </div>
      <div>
        <dt>Events</dt>
        <dd>{eventTypes ? eventTypes.map((type) => eventLabels[type]).join(', ') : 'All'}</dd>
      </div>
      <div>
        <dt>Projects</dt>
        <dd>{names ? names.join(', ') : 'The whole organisation'}</dd>
      </div>
      <div>
        <dt>Format</dt>
        <dd>{formats[format]}</dd>
      </div>
      <div>
        <dt>Added</dt>
        <dd>
          <RelativeTime at={createdAt} />
        </dd>
      </div>
      {isInTransition && (
        <div>
          <dt>The previous secret signs until</dt>
          <dd>
            <RelativeTime at={previousSecretUntil} isFuture />
          </dd>
        </div>
      )}
    </dl>
  );
}
