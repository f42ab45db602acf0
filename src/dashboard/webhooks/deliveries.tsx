import { Alert, Anchor, Button, Group, NativeSelect, Stack, Text, Title } from '@mantine/core';
import { type ReactNode, useEffect, useEffectEvent, useState } from 'react';
import { useClient, useQuery } from 'urql';
import { Link } from 'wouter';
import { parseError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import { RelativeTime } from '../relative-time.tsx';
import { connectionPath, type OptionalProjectId } from '../route.ts';
import { runMutation } from '../run-mutation.ts';
import classes from '../table.module.css';
import { Attempts, describeAttempts } from './attempts.tsx';
import { MessageStatus, messageStatuses } from './endpoint-status.tsx';
import { eventLabels } from './event-labels.ts';
import { type Endpoint, type Message, messagesQuery, redeliverMutation } from './operations.ts';
import { RedeliverDialog } from './redeliver-dialog.tsx';
import { useCanWriteWebhooks } from './webhook-access.tsx';

type Status = Message['status'];

/** A test event is a message, so the log is read again, also if it was empty. */
const readAfterSending = { additionalTypenames: ['WebhookMessage'] };
/** How often the log is read again while a message waits. */
const pollMs = 3_000;

interface DeliveriesProps {
  endpoint: Endpoint;
  projectId: OptionalProjectId;
  /** Called when a message has another state. */
  onChanged(): void;
}

/** The messages of an endpoint with their attempts, newest first. */
export function Deliveries({ endpoint, projectId, onChanged }: DeliveriesProps) {
  const client = useClient();
  const canSend = useCanWriteWebhooks() && endpoint.disabledAt === null;
  const [status, setStatus] = useState<Status | null>(null);
  /** The cursors of this page and those before it, but the first. */
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const [isRedelivering, setIsRedelivering] = useState(false);
  const [outcome, setOutcome] = useState<ReactNode>();
  const [{ data, error }, refetch] = useQuery({
    query: messagesQuery,
    variables: { endpointId: endpoint.id, status, after: cursors.at(-1) ?? null },
    requestPolicy: 'cache-and-network',
    context: readAfterSending,
  });
  const reload = () => refetch({ requestPolicy: 'network-only' });
  const page = data?.webhookMessages;
  const states = page?.nodes.map(({ id, status: state, attempts }) => [id, state, attempts.length]).join();
  const changed = useEffectEvent(onChanged);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the endpoint is read again when its messages have changed
  useEffect(() => changed(), [states]);
  const poll = useEffectEvent(() => {
    if (!document.hidden) reload();
  });
  const isWaiting = page?.nodes.some((message) => message.status === 'PENDING') ?? false;
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setInterval(() => poll(), pollMs);
    return () => clearInterval(timer);
  }, [isWaiting]);

  const sent = (count: number) => {
    setIsRedelivering(false);
    setOutcome(
      <Alert color="green">{count === 1 ? '1 message is' : `${count} messages are`} sent again.</Alert>,
    );
    reload();
  };
  const redeliver = async ({ id: messageId }: Message) => {
    const result = await runMutation(client, redeliverMutation, { endpointId: endpoint.id, messageId });
    if (result?.apiError) setOutcome(<ErrorAlert apiError={result.apiError} />);
    else sent(result?.data.outcome?.count ?? 0);
  };
  return (
    <Stack component="section" aria-label="Deliveries">
      <Title order={2} size="h4">
        Deliveries
      </Title>
      <Group align="end">
        <NativeSelect
          label="Status"
          data={[
            { value: '', label: 'All' },
            ...Object.entries(messageStatuses).map(([value, { label }]) => ({ value, label })),
          ]}
          onChange={(event) => {
            const { value } = event.currentTarget;
            setStatus(value in messageStatuses ? (value as Status) : null);
            setCursors([]);
          }}
        />
        <Button variant="default" onClick={reload}>
          Refresh
        </Button>
        {canSend && (
          <Button variant="default" onClick={() => setIsRedelivering(true)}>
            Send a time span again
          </Button>
        )}
      </Group>
      <div role="status">{outcome}</div>
      {error && <ErrorAlert apiError={parseError(error)} onRetry={reload} />}
      {!page && !error && <Loading />}
      {page?.nodes.length === 0 && (
        <Text role="status" c="dimmed">
          {status ? 'No message is in this state.' : 'Nothing was sent in the last seven days.'}
        </Text>
      )}
      <Stack component="ul" p={0} m={0} gap="md" className={classes.plain} aria-label="Messages">
        {page?.nodes.map((message) => (
          <Delivery
            key={message.id}
            message={message}
            projectId={projectId}
            isEnabled={endpoint.disabledAt === null}
            onRedeliver={canSend && canBeSentAgain(message) ? () => redeliver(message) : undefined}
          />
        ))}
      </Stack>
      {(cursors.length > 0 || page?.pageInfo.hasNextPage) && (
        <Group component="nav" aria-label="Pages">
          <Button
            variant="default"
            disabled={cursors.length === 0}
            onClick={() => setCursors(cursors.slice(0, -1))}
          >
            Newer
          </Button>
          <Button
            variant="default"
            disabled={!page?.pageInfo.hasNextPage}
            onClick={() => page?.pageInfo.endCursor && setCursors([...cursors, page.pageInfo.endCursor])}
          >
            Older
          </Button>
        </Group>
      )}
      {isRedelivering && (
        <RedeliverDialog endpointId={endpoint.id} onSent={sent} onClose={() => setIsRedelivering(false)} />
      )}
    </Stack>
  );
}

/** Whether a message was delivered, has failed, or waits for its next attempt. */
function canBeSentAgain({ nextAttemptAt, attempts }: Message): boolean {
  return nextAttemptAt === null || (attempts.length > 0 && Date.parse(nextAttemptAt) > Date.now());
}

interface DeliveryProps {
  message: Message;
  projectId: OptionalProjectId;
  /** Whether the endpoint gets anything. */
  isEnabled: boolean;
  onRedeliver: (() => void) | undefined;
}

function Delivery({ message, projectId, isEnabled, onRedeliver }: DeliveryProps) {
  const { type, connectionId, occurredAt, status, nextAttemptAt } = message;
  return (
    <li>
      <Group justify="space-between" gap="xs">
        <Group gap="xs">
          <Text fw={600}>{eventLabels[type]}</Text>
          <MessageStatus status={status} />
        </Group>
        {onRedeliver && (
          <Button
            size="compact-xs"
            variant="default"
            onClick={onRedeliver}
            aria-label={`Send again: ${eventLabels[type]}`}
          >
            Send again
          </Button>
        )}
      </Group>
      <Text size="sm" c="dimmed">
        <RelativeTime at={occurredAt} />
        {', '}
        {describeAttempts(message)}
        {isEnabled && nextAttemptAt && message.attempts.length > 0 && (
          <>
            {', next '}
            <RelativeTime at={nextAttemptAt} isFuture />
          </>
        )}
        {connectionId && (
          <>
            {' · '}
            <Anchor
              component={Link}
              href={connectionPath(projectId, connectionId)}
              size="sm"
              underline="always"
            >
              Connection
            </Anchor>
          </>
        )}
      </Text>
      {message.attempts.length > 0 && <Attempts message={message} />}
    </li>
  );
}
