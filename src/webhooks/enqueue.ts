import { randomUUID } from 'node:crypto';
import type { App } from '../apps/app.ts';
import { AuditEvent } from '../audit/audit-event.entity.ts';
import { currentTime } from '../common/clock.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import type { Database } from '../database/database.ts';
import { insertRows } from '../database/row-statements.ts';
import { sql } from '../database/sql.ts';
import type { Vault } from '../encryption/vault.ts';
import { type BodyInput, buildBody, type DescribedEvent } from './body.ts';
import { type DigestState, describeForPeople, findDigestTime } from './digest.ts';
import { toWebhookEventTypes, type WebhookEventType } from './event-types.ts';
import { describeConnections, findHostOwners, isAboutHost } from './host-owners.ts';
import { concernsOwner, readDigestStates } from './owners.ts';
import { isDigest, isForOwners, type WebhookEndpoint } from './webhook-endpoint.entity.ts';
import { WebhookMessage } from './webhook-message.entity.ts';

/** The dependencies of queueing messages. */
export interface QueueDeps {
  apps: readonly App[];
  database: Database;
  vault: Vault;
  /** Returns the URL of this server for people. */
  getPublicUrl(): string;
  /** Whether the operator has configured a mail server. */
  sendsMail: boolean;
  /** Whether the operator lets this server send e-mails to an address. */
  isRecipientAllowed(address: string): boolean;
}

/** The events that are read at once. */
const batchSize = 200;
/** The most messages of an endpoint that wait, except to owners. Later events wait in the audit trail. */
export const maxPending = 500;

const eventColumns = [
  ...(['orgId', 'seq', 'at', 'action', 'outcome', 'fields', 'targetName'] as const),
  ...(['connectionId', 'connectionName', 'projectId'] as const),
];

/** What queueing has done. `full`: enough messages wait. `outdated`: another server has the endpoint, or it has been changed. */
export type QueueResult = 'done' | 'more' | 'full' | 'outdated';

/**
 * Makes messages of the next events of the audit trail that are for an endpoint. The trail is the outbox: an event is there if
 * and only if its change was committed, and the position of the endpoint moves in the statement that stores the messages.
 *
 * @param endpoint its `position` is updated
 */
export async function queueMessages(deps: QueueDeps, endpoint: WebhookEndpoint): Promise<QueueResult> {
  const { database } = deps;
  const { id: endpointId, orgId, position, leaseId, updatedAt } = endpoint;
  // An owner whose address does not work must not hold up the others.
  if (!isForOwners(endpoint)) {
    const isWaiting = sql`where endpoint_id = ${endpointId} and status = 'PENDING'`;
    if ((await database.count(WebhookMessage, orgId, isWaiting)) >= maxPending) return 'full';
  }
  const found = await database.select(
    AuditEvent,
    orgId,
    sql`where (org_id, seq) > (${orgId}::uuid, ${position}::int) and org_id = ${orgId}
      order by org_id, seq limit ${batchSize}`,
    { isScan: true, properties: eventColumns },
  );
  const events = isForOwners(endpoint) ? upToHost(found) : found;
  const last = events.at(-1);
  if (!last) return 'done';
  const em = database.forOrganisation(orgId);
  const insert = insertRows(em, WebhookMessage, await buildMessages(deps, endpoint, events));
  const [stored] = await em.execute<[{ isStored: boolean }]>(
    `with moved as (update webhook_endpoint set position = ?
        where id = ? and position = ? and lease_id = ? and updated_at = ? returning 1),
      added as (${insert.sql} and exists (select from moved))
      select exists (select from moved) as "isStored"`,
    [last.seq, endpointId, position, leaseId, updatedAt, ...insert.params],
  );
  if (!stored.isStored) return 'outdated';
  endpoint.position = last.seq;
  return found.length === batchSize || events.length < found.length ? 'more' : 'done';
}

/** Ends a batch with its first event about a host, which can concern a thousand owners. */
function upToHost<Event extends DescribedEvent>(events: readonly Event[]): readonly Event[] {
  const index = events.findIndex(isAboutHost);
  return index < 0 ? events : events.slice(0, index + 1);
}

/** An owner of connections. */
interface Recipient {
  email: string;
  /** A sentence for this owner at the end of the line. */
  note?: string | undefined;
}

/** Builds the row of a message. */
export async function buildMessage(
  { database, vault, getPublicUrl }: QueueDeps,
  endpoint: Pick<WebhookEndpoint, 'id' | 'orgId' | 'format'> & DigestState,
  input: Omit<BodyInput, 'id'>,
  recipient?: Recipient,
): Promise<WebhookMessage> {
  const id = randomUUID();
  const now = currentTime();
  const { id: endpointId, orgId, format } = endpoint;
  const nextAttemptAt = isDigest(format) ? findDigestTime(input.type, endpoint) : now;
  const em = database.forOrganisation(orgId);
  return (await vault.rowMacs(em)).signed(em, WebhookMessage, {
    ...{ id, orgId, endpointId, type: input.type, seq: input.event.seq },
    ...{ connectionId: input.event.connectionId ?? null, recipient: recipient?.email ?? null },
    body: isDigest(format)
      ? [describeForPeople(input, getPublicUrl()), recipient?.note].filter((part) => part).join(' ')
      : buildBody(format, { id: toWebhookId(id), ...input }),
    ...{ occurredAt: input.event.at, createdAt: now },
    ...{ status: 'PENDING', attempts: 0, failedSince: null, nextAttemptAt, log: [] },
  } satisfies Omit<WebhookMessage, 'mac'>);
}

/** The value of `webhook-id`. It is the same in each attempt. */
export function toWebhookId(messageId: string): string {
  return `msg_${messageId}`;
}

async function buildMessages(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
  events: readonly DescribedEvent[],
): Promise<WebhookMessage[]> {
  const { orgId } = endpoint;
  if (isForOwners(endpoint) && !deps.sendsMail) return [];
  const wanted = events.flatMap((event) =>
    toWebhookEventTypes(event)
      .filter((type) => (isForOwners(endpoint) ? concernsOwner(type) : isFor(endpoint, type, event)))
      .map((type) => ({ type, event })),
  );
  const ids = [...new Set(wanted.flatMap(({ event }) => event.connectionId ?? []))];
  const found =
    ids.length > 0
      ? await deps.database.select(
          AppConnection,
          orgId,
          sql`where org_id = ${orgId} and id = any(${ids}::uuid[])`,
        )
      : [];
  const connections = new Map(found.map((connection) => [connection.id, connection]));
  const inputs = wanted.map((each) => ({
    ...each,
    connection: connections.get(each.event.connectionId ?? ''),
  }));
  if (isForOwners(endpoint)) return buildOwnerMessages(deps, endpoint, inputs);
  const messages: WebhookMessage[] = [];
  for (const input of inputs) messages.push(await buildMessage(deps, endpoint, input));
  return messages;
}

/** Builds the messages to the owners that the connections have now; an owner that was removed gets none. */
async function buildOwnerMessages(
  deps: QueueDeps,
  endpoint: WebhookEndpoint,
  inputs: readonly Omit<BodyInput, 'id'>[],
): Promise<WebhookMessage[]> {
  const notices: { input: (typeof inputs)[number]; email: string; note?: string }[] = [];
  for (const input of inputs) {
    const email = input.connection?.owner?.email;
    if (email) notices.push({ input, email });
    if (!isAboutHost(input.event)) continue;
    for (const owner of await findHostOwners(deps, input.event))
      notices.push({ input, email: owner.email, note: describeConnections(owner) });
  }
  if (notices.length === 0) return [];
  const states = await readDigestStates(deps, endpoint, [...new Set(notices.map(({ email }) => email))]);
  const messages: WebhookMessage[] = [];
  for (const { input, email, note } of notices)
    messages.push(await buildMessage(deps, { ...endpoint, ...states.get(email) }, input, { email, note }));
  return messages;
}

function isFor(
  { eventTypes, projectIds }: WebhookEndpoint,
  type: WebhookEventType,
  { projectId }: DescribedEvent,
): boolean {
  if (eventTypes && !eventTypes.includes(type)) return false;
  return !projectIds || (projectId != null && projectIds.includes(projectId));
}
