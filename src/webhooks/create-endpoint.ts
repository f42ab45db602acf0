import { randomUUID } from 'node:crypto';
import { storeWithEvents } from '../audit/audited-change.ts';
import { withRefusalAudit } from '../audit/record-refusals.ts';
import { validationError } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { Caller } from '../identity/caller.ts';
import { buildEndpoint } from './build-endpoint.ts';
import {
  assertProjectsExist,
  endpointEvent,
  maxEndpoints,
  requireWriting,
  visibleEndpoints,
} from './endpoints.ts';
import type { CreateWebhookEndpoint } from './input-schemas.ts';
import { generateWebhookSecret } from './secrets.ts';
import { toStoredTarget } from './target.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';

/** An endpoint with a new secret. `secret` is the only copy that is shown. */
export interface EndpointWithSecret {
  endpoint: WebhookEndpoint;
  secret: Secret;
}

/**
 * Creates a webhook endpoint. It gets the events from now on.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND` (a project), `HOST_NOT_ALLOWED`, `RATE_LIMITED`, `BAD_USER_INPUT` (there are too
 *   many endpoints)
 */
export async function createWebhookEndpoint(
  deps: ConnectionDeps,
  caller: Caller,
  { url, description, eventTypes, projectIds, format }: CreateWebhookEndpoint,
): Promise<EndpointWithSecret> {
  const action = 'CREATE_WEBHOOK_ENDPOINT';
  return withRefusalAudit(deps, caller, { action }, async () => {
    requireWriting(caller);
    const target = toStoredTarget(deps, format ?? 'STANDARD', url);
    await deps.limits.checkChange(caller);
    const { orgId } = caller;
    const id = randomUUID();
    const secret = generateWebhookSecret();
    const endpoint = await storeWithEvents(deps, orgId, {
      prepare: async (em, trail) => {
        const reader = deps.database.forOrganisation(orgId);
        await assertProjectsExist(reader, orgId, projectIds);
        if ((await reader.count(WebhookEndpoint, { orgId, ...visibleEndpoints })) >= maxEndpoints) {
          const message = `The organisation has ${maxEndpoints} webhook endpoints already. Delete one of them first.`;
          throw validationError([{ path: ['url'], message }]);
        }
        const values = {
          ...{ id, orgId, url: target.url, format: format ?? ('STANDARD' as const) },
          description: description ?? null,
          eventTypes: eventTypes ?? null,
          projectIds: projectIds ?? null,
        };
        const secrets = { current: secret, previous: [], url: target.secret };
        const created = await buildEndpoint(deps, em, trail, values, secrets);
        const event = endpointEvent(caller, action, id, ['url']);
        return { events: [event], inserts: [[WebhookEndpoint, created]], result: created };
      },
    });
    return { endpoint, secret };
  });
}
