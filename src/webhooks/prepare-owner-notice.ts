import { randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { InsertedRow } from '../audit/audited-change.ts';
import type { TrailState } from '../audit/trail-head.ts';
import { currentTime } from '../common/clock.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import { buildEndpoint } from './build-endpoint.ts';
import { buildMessage, type QueueDeps } from './enqueue.ts';
import { readDigestStates } from './owners.ts';
import { generateWebhookSecret } from './secrets.ts';
import { ownersUrl, WebhookEndpoint } from './webhook-endpoint.entity.ts';
import { WebhookMessage } from './webhook-message.entity.ts';

/**
 * Prepares the rows that are stored with a connection that has an owner: the endpoint for owners, unless the organisation has one,
 * and the message about the removal of the connection for good, because its owner is not stored anywhere afterwards.
 *
 * @param removal if the change removes the connection: whether it was deleted before. Then its owner gets an e-mail about that already,
 *   unless no server has read the event yet
 */
export async function prepareOwnerNotice(
  deps: QueueDeps,
  em: EntityManager,
  connection: AppConnection,
  removal: { wasDeleted: boolean } | undefined,
  trail: TrailState,
): Promise<InsertedRow[]> {
  const { orgId, owner } = connection;
  if (!owner) return [];
  const found = await em.findOne(WebhookEndpoint, { orgId, url: ownersUrl });
  if (removal?.wasDeleted && !found) return [];
  const endpoint = found ?? (await buildOwnersEndpoint(deps, em, orgId, trail));
  const added: InsertedRow[] = found ? [] : [[WebhookEndpoint, endpoint]];
  if (!removal || !deps.sendsMail) return added;
  if (removal.wasDeleted && !(await isDeletionUnread(em, endpoint, connection))) return added;
  const states = await readDigestStates(deps, endpoint, [owner.email]);
  const input = {
    type: 'connection.purged' as const,
    event: {
      ...{ orgId, seq: trail.seq + 1, at: currentTime(), action: 'PURGE_CONNECTION' as const },
      ...{ outcome: 'OK' as const, fields: ['deletedAt'], targetName: null },
      ...{ connectionId: connection.id, connectionName: connection.name, projectId: connection.projectId },
    },
  };
  const message = await buildMessage(deps, { ...endpoint, ...states.get(owner.email) }, input, owner);
  return [...added, [WebhookMessage, message]];
}

/** Whether no message has been made of the deletion of a connection, and none can be without its row. */
async function isDeletionUnread(
  em: EntityManager,
  { orgId, position }: WebhookEndpoint,
  { id }: AppConnection,
): Promise<boolean> {
  const events = await em.execute(
    `select 1 from audit_event
      where org_id = ? and seq > ? and connection_id = ? and action = 'DELETE_CONNECTION' and outcome = 'OK' limit 1`,
    [orgId, position, id],
  );
  return events.length > 0;
}

function buildOwnersEndpoint(deps: QueueDeps, em: EntityManager, orgId: string, trail: TrailState) {
  // Nothing is signed with the secret; a row without one would be an exception everywhere.
  const secrets = { current: generateWebhookSecret(), previous: [] };
  const values = { id: randomUUID(), orgId, url: ownersUrl, format: 'EMAIL' as const };
  return buildEndpoint(deps, em, trail, values, secrets);
}
