import type { EntityManager } from '@mikro-orm/postgresql';
import { hostNotAllowedError } from '../apps/map-outbound-error.ts';
import type { AuditAction } from '../audit/audit-event.entity.ts';
import { type PreparedChange, storeWithEvents } from '../audit/audited-change.ts';
import { type RecordedEvent, withRequestContext } from '../audit/hash-chain.ts';
import { withForbiddenAudit, withRefusalAudit } from '../audit/record-refusals.ts';
import type { TrailState } from '../audit/trail-head.ts';
import { AppError } from '../common/errors.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { Vault } from '../encryption/vault.ts';
import type { Caller } from '../identity/caller.ts';
import { Project } from '../identity/organisation.entity.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { ownersUrl, WebhookEndpoint } from './webhook-endpoint.entity.ts';

/** The most endpoints of an organisation. */
export const maxEndpoints = 50;

/** The condition of endpoints that callers see. */
export const visibleEndpoints = { url: { $ne: ownersUrl } } as const;

/**
 * Lists the webhook endpoints of the organisation, oldest first.
 *
 * @throws AppError `FORBIDDEN`
 */
export async function listWebhookEndpoints(deps: ConnectionDeps, caller: Caller): Promise<WebhookEndpoint[]> {
  return withForbiddenAudit(deps, caller, { action: 'READ_WEBHOOKS' }, async () => {
    requireReading(caller);
    const { orgId } = caller;
    return deps.database
      .forOrganisation(orgId)
      .find(
        WebhookEndpoint,
        { orgId, ...visibleEndpoints },
        { orderBy: { createdAt: 'asc', id: 'asc' }, limit: maxEndpoints },
      );
  });
}

/**
 * Reads a webhook endpoint.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`
 */
export async function getWebhookEndpoint(
  deps: ConnectionDeps,
  caller: Caller,
  id: string,
): Promise<WebhookEndpoint> {
  return withForbiddenAudit(deps, caller, { action: 'READ_WEBHOOKS', targetName: id }, async () => {
    requireReading(caller);
    const { orgId } = caller;
    const em = deps.database.forOrganisation(orgId);
    const endpoint = await em.findOne(WebhookEndpoint, { id, orgId, ...visibleEndpoints });
    if (!endpoint) throw endpointNotFound();
    return endpoint;
  });
}

/** @throws AppError `FORBIDDEN` */
export function requireReading(caller: Caller): void {
  caller.requireScope('webhooks:read');
  caller.requireWholeOrganisation();
}

/** @throws AppError `FORBIDDEN` */
export function requireWriting(caller: Caller): void {
  caller.requireScope('webhooks:write');
  // An endpoint can send the events of every project, and its log names every connection.
  caller.requireWholeOrganisation();
}

/**
 * Finds an endpoint to change it. The row is verified, so that it can be signed again.
 *
 * @throws AppError `NOT_FOUND`
 * @throws MacMismatch if the row was changed outside this server
 */
export async function findEndpointToChange(
  em: EntityManager,
  vault: Vault,
  { id, orgId }: Pick<WebhookEndpoint, 'id' | 'orgId'>,
): Promise<WebhookEndpoint> {
  const options = { populate: ['sealedSecrets', 'mac'], refresh: true } as const;
  const endpoint = await em.findOne(WebhookEndpoint, { id, orgId, ...visibleEndpoints }, options);
  if (!endpoint) throw endpointNotFound();
  (await vault.rowMacs(em)).verify(em, WebhookEndpoint, endpoint);
  return endpoint;
}

/**
 * Stores what callers change about an endpoint, with its audit event, or the refusal.
 *
 * @param prepare reads the endpoint as it is stored, and returns what to store with the names of the changed fields; none if there
 *   is nothing to change
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`, and the errors of `prepare`
 */
export async function storeEndpointChange<Result>(
  deps: ConnectionDeps,
  caller: Caller,
  action: AuditAction,
  id: string,
  prepare: (
    em: EntityManager,
    endpoint: WebhookEndpoint,
    trail: TrailState,
  ) => Promise<Omit<PreparedChange<Result>, 'events' | 'readMac'> & { fields: string[] }>,
): Promise<Result> {
  return withRefusalAudit(deps, caller, { action, targetName: id }, async () => {
    requireWriting(caller);
    await deps.limits.checkChange(caller);
    const { orgId } = caller;
    return storeWithEvents(deps, orgId, {
      row: { entity: WebhookEndpoint, id },
      prepare: async (em, trail) => {
        const endpoint = await findEndpointToChange(em, deps.vault, { id, orgId });
        const { fields, ...change } = await prepare(em, endpoint, trail);
        if (fields.length === 0) return { events: [], result: change.result };
        return { events: [endpointEvent(caller, action, id, fields)], readMac: endpoint.mac, ...change };
      },
    });
  });
}

/** Builds the audit event of a change of an endpoint. */
export function endpointEvent(
  caller: Caller,
  action: AuditAction,
  id: string,
  fields: string[],
): RecordedEvent {
  return withRequestContext({ ...caller.actor, action, targetName: id, outcome: 'OK', fields });
}

/** @throws AppError `NOT_FOUND`, with an issue for each project that does not exist */
export async function assertProjectsExist(
  em: EntityManager,
  orgId: string,
  projectIds: readonly string[] | null | undefined,
): Promise<void> {
  if (!projectIds) return;
  const found = await em.find(Project, { orgId, id: { $in: [...projectIds] } }, { fields: ['id'] });
  const existing = new Set(found.map(({ id }) => id));
  const message = 'There is no such project.';
  const issues = projectIds.flatMap((id, index) =>
    existing.has(id) ? [] : [{ path: ['projectIds', index], message }],
  );
  if (issues.length > 0)
    throw new AppError('NOT_FOUND', message, { issues, remedy: 'Check the project ids.' });
}

/**
 * Rejects a URL to which this server must not send requests. The address of a name is checked with each request.
 *
 * @throws AppError `HOST_NOT_ALLOWED`
 */
export function assertReceiverAllowed({ outbound }: Pick<ConnectionDeps, 'outbound'>, url: string): void {
  try {
    outbound.assertCanGet(new URL(url));
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    // Other reasons, such as a full bulkhead, are over before the first message.
    if (!hostNotAllowedError(error)) return;
    const message = `This server does not connect to the URL: ${error.message}.`;
    throw new AppError('HOST_NOT_ALLOWED', message, {
      issues: [{ path: ['url'], message }],
      remedy:
        'Use a public https address. The operator can list others in TRUSTED_INSTANCE_HOSTS, and has to list this one in ALLOWED_INSTANCE_HOSTS if that is set.',
    });
  }
}

/** The error for an endpoint that does not exist. */
export function endpointNotFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such webhook endpoint.', {
    remedy: 'Check the id. `webhookEndpoints` lists the endpoints.',
  });
}
