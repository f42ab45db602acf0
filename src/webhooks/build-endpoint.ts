import type { EntityManager } from '@mikro-orm/postgresql';
import type { TrailState } from '../audit/trail-head.ts';
import { currentTime } from '../common/clock.ts';
import type { Vault } from '../encryption/vault.ts';
import { sealWebhookSecrets, type WebhookSecrets } from './secrets.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';

/** The values of an endpoint that its creator gives. */
type EndpointValues = Pick<WebhookEndpoint, 'id' | 'orgId' | 'url' | 'format'> &
  Partial<Pick<WebhookEndpoint, 'description' | 'eventTypes' | 'projectIds'>>;

/** Builds the row of a new endpoint, which gets the events after the end of the trail. */
export async function buildEndpoint(
  { vault }: { vault: Vault },
  em: EntityManager,
  { seq, sealKeyId }: TrailState,
  values: EndpointValues,
  secrets: WebhookSecrets,
): Promise<WebhookEndpoint> {
  const sealed = await sealWebhookSecrets(vault, em, values, secrets, sealKeyId);
  const now = currentTime();
  return (await vault.rowMacs(em)).signed(em, WebhookEndpoint, {
    ...{ description: null, eventTypes: null, projectIds: null, ...values, ...sealed },
    ...{ previousSecretUntil: null, createdAt: now, updatedAt: now, disabledAt: null },
    ...{ position: seq, nextAttemptAt: null, leaseId: null, leaseUntil: null },
    ...{ failingSince: null, lastSuccessAt: null },
  });
}
