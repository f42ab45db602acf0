import { randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { InsertedRow, TrailState } from '../audit/audited-change.ts';
import { currentTime } from '../common/clock.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import { buildEndpoint } from './build-endpoint.ts';
import { buildMessage, type QueueDeps } from './enqueue.ts';
import { readDigestStates } from './owners.ts';
import { generateWebhookSecret } from './secrets.ts';
import { ownersUrl, WebhookEndpoint } from './webhook-endpoint.entity.ts';
import { WebhookMessage } from './webhook-message.entity.ts';

/**
 * Prepares the rows that are stored with a connection that has an owner: the endpoint for owners, unless the organisation has one, and
 * the message about the removal of the connection for good, because its owner is not stored anywhere afterwards.
 *
 * @param isRemoved whether the change removes the connection, which was not deleted before
 */
export async function prepareOwnerNotice(
  deps: QueueDeps,
  em: EntityManager,
  connection: AppConnection,
  isRemoved: boolean,
  trail: TrailState,
): Promise<InsertedRow[]> {
  const { orgId, owner } = connection;
  if (!owner) return [];
  const found = await em.findOne(WebhookEndpoint, { orgId, url: ownersUrl });
  const endpoint = found ?? (await buildOwnersEndpoint(deps, em, orgId, trail));
  const added: InsertedRow[] = found ? [] : [[WebhookEndpoint, endpoint]];
  if (!isRemoved || !deps.sendsMail) return added;
  const states = await readDigestStates(deps, endpoint, [owner.email]);
  const input = {
    type: 'connection.purged' as const,
    event: {
      ...{ orgId, seq: trail.seq + 1, at: currentTime(), action: 'PURGE_CONNECTION' as const },
      ...{ outcome: 'OK' as const, fields: ['deletedAt'], targetName: null },
      ...{ connectionId: connection.id, connectionName: connection.name, projectId: connection.projectId },
    },
  };
  const message = await buildMessage(deps, { ...endpoint, ...states.get(owner.email) }, input, owner.email);
  return [...added, [WebhookMessage, message]];
}

function buildOwnersEndpoint(deps: QueueDeps, em: EntityManager, orgId: string, trail: TrailState) {
  // Nothing is signed with the secret; a row without one would be an exception everywhere.
  const secrets = { current: generateWebhookSecret(), previous: [] };
  const values = { id: randomUUID(), orgId, url: ownersUrl, format: 'EMAIL' as const };
  return buildEndpoint(deps, em, trail, values, secrets);
}
