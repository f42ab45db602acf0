import { isDeepStrictEqual } from 'node:util';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { AuditAction } from '../audit/audit-event.entity.ts';
import type { TrailState } from '../audit/trail-head.ts';
import { currentTime } from '../common/clock.ts';
import { typedKeys } from '../common/typed-keys.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { deleteRow, updateRow } from '../database/row-statements.ts';
import type { Caller } from '../identity/caller.ts';
import type { EndpointWithSecret } from './create-endpoint.ts';
import { assertProjectsExist, storeEndpointChange } from './endpoints.ts';
import type { UpdateWebhookEndpoint } from './input-schemas.ts';
import { activeSecrets, generateWebhookSecret, openWebhookSecrets, sealWebhookSecrets } from './secrets.ts';
import { assertCompatibleFormat, toStoredTarget } from './target.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';

/** The columns of the delivery state that are reset when an endpoint is enabled. */
const deliveryColumns = ['position', 'failingSince', 'nextAttemptAt', 'leaseUntil'];
/** How long previous secrets sign beside the new one, in milliseconds. */
const previousSecretMs = 86_400_000;

/**
 * Updates a webhook endpoint. An endpoint that is enabled again gets the events from then on, and the messages that still wait.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `HOST_NOT_ALLOWED`, `RATE_LIMITED`
 */
export async function updateWebhookEndpoint(
  deps: ConnectionDeps,
  caller: Caller,
  id: string,
  { enabled, ...input }: UpdateWebhookEndpoint,
): Promise<WebhookEndpoint> {
  return changeEndpoint(deps, caller, 'UPDATE_WEBHOOK_ENDPOINT', id, async (em, endpoint, trail) => {
    const target = await changeTarget(deps, em, endpoint, input, trail);
    await assertProjectsExist(em, caller.orgId, input.projectIds);
    const given = typedKeys(input).filter((name) => input[name] !== undefined);
    const changed = given.filter((name) => !isDeepStrictEqual(input[name] ?? null, endpoint[name] ?? null));
    const isSwitched = enabled !== undefined && enabled === Boolean(endpoint.disabledAt);
    return {
      ...Object.fromEntries(changed.map((name) => [name, input[name]])),
      ...target,
      ...(isSwitched && !enabled && { disabledAt: currentTime() }),
      ...(isSwitched && enabled && toEnabled(endpoint, trail.seq)),
    };
  });
}

/** Returns the changed columns of an address that is a secret. Another one is stored as it is given. */
async function changeTarget(
  deps: ConnectionDeps,
  em: EntityManager,
  endpoint: WebhookEndpoint,
  { url, format = endpoint.format }: UpdateWebhookEndpoint,
  { sealKeyId }: TrailState,
): Promise<Partial<WebhookEndpoint>> {
  assertCompatibleFormat(endpoint, format);
  // Also what is shown of an address that is a secret.
  if (url === undefined || url === endpoint.url) return {};
  const target = toStoredTarget(deps, format, url);
  if (!target.secret) return {};
  const secrets = { ...(await openWebhookSecrets(deps.vault, em, endpoint)), url: target.secret };
  return { url: target.url, ...(await sealWebhookSecrets(deps.vault, em, endpoint, secrets, sealKeyId)) };
}

function toEnabled({ leaseId, leaseUntil }: WebhookEndpoint, position: number): Partial<WebhookEndpoint> {
  return {
    ...{ disabledAt: null, position, failingSince: null, nextAttemptAt: null },
    // A server that is still waiting for the receiver has the lease. Another one must not begin before it ends.
    leaseUntil: leaseId ? leaseUntil : null,
  };
}

/**
 * Makes a new secret for an endpoint. For a day, messages are signed with the ones before too: a rotation whose response was lost
 * is repeated, and its receiver still has the first of them.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`
 */
export async function rotateWebhookSecret(
  deps: ConnectionDeps,
  caller: Caller,
  id: string,
): Promise<EndpointWithSecret> {
  const secret = generateWebhookSecret();
  const action = 'ROTATE_WEBHOOK_SECRET';
  const endpoint = await changeEndpoint(deps, caller, action, id, async (em, before, { sealKeyId }) => {
    const opened = await openWebhookSecrets(deps.vault, em, before);
    const secrets = { ...opened, current: secret, previous: activeSecrets(opened, before) };
    const sealed = await sealWebhookSecrets(deps.vault, em, before, secrets, sealKeyId);
    return { ...sealed, previousSecretUntil: new Date(currentTime().getTime() + previousSecretMs) };
  });
  return { endpoint, secret };
}

/**
 * Deletes an endpoint with its messages.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`
 */
export async function deleteWebhookEndpoint(
  deps: ConnectionDeps,
  caller: Caller,
  id: string,
): Promise<string> {
  return storeEndpointChange(deps, caller, 'DELETE_WEBHOOK_ENDPOINT', id, async (em, endpoint) => ({
    fields: ['url'],
    updates: [deleteRow(em, WebhookEndpoint, endpoint)],
    result: id,
  }));
}

/** Changes an endpoint with its audit event, unless `change` returns nothing new. */
async function changeEndpoint(
  deps: ConnectionDeps,
  caller: Caller,
  action: AuditAction,
  id: string,
  change: (
    em: EntityManager,
    endpoint: WebhookEndpoint,
    trail: TrailState,
  ) => Promise<Partial<WebhookEndpoint>>,
): Promise<WebhookEndpoint> {
  return storeEndpointChange(deps, caller, action, id, async (em, endpoint, trail) => {
    const changes = await change(em, endpoint, trail);
    const columns = typedKeys(changes);
    if (columns.length === 0) return { fields: [], result: endpoint };
    const changed = { ...endpoint, ...changes, updatedAt: currentTime() };
    const signed = (await deps.vault.rowMacs(em)).signed(em, WebhookEndpoint, changed);
    return {
      fields: toAuditedFields(columns),
      updates: [updateRow(em, WebhookEndpoint, signed, [...columns, 'updatedAt', 'mac'])],
      result: signed,
    };
  });
}

/** The names in the audit event, without the columns that follow from others. */
function toAuditedFields(columns: readonly string[]): string[] {
  const derived = ['dataKeyId', ...deliveryColumns];
  return (
    columns
      .filter((name) => !derived.includes(name))
      // An address that is a secret is sealed with the others.
      .filter((name) => name !== 'sealedSecrets' || !columns.includes('url'))
      .map((name) => (name === 'sealedSecrets' ? 'secret' : name))
  );
}
