import { createHmac, randomBytes } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { currentTimeMs } from '../common/clock.ts';
import { Secret } from '../common/secret.ts';
import type { Vault } from '../encryption/vault.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';

/** The prefix of a secret by Standard Webhooks. Its other characters are the key in base64. */
const secretPrefix = 'whsec_';
const keyBytes = 32;

/** The secrets of an endpoint. */
export interface WebhookSecrets {
  current: Secret;
  /** Those before the last rotations, the latest first. */
  previous: readonly Secret[];
  /** The address, if it is a secret itself. */
  url?: Secret | undefined;
}

/** The most secrets that sign beside the current one. */
const maxPrevious = 3;

/** Generates a secret. */
export function generateWebhookSecret(): Secret {
  return new Secret(secretPrefix + randomBytes(keyBytes).toString('base64'));
}

/** Returns the secrets that sign now: the current one, and for a day after a rotation also those before. */
export function activeSecrets(
  { current, previous }: WebhookSecrets,
  { previousSecretUntil }: Pick<WebhookEndpoint, 'previousSecretUntil'>,
): Secret[] {
  const isInTransition = (previousSecretUntil?.getTime() ?? 0) > currentTimeMs();
  return isInTransition ? [current, ...previous] : [current];
}

/**
 * Encrypts the secrets of an endpoint.
 *
 * @param activeKeyId the data key that encrypts now; another one may be in the cache
 */
export async function sealWebhookSecrets(
  vault: Vault,
  em: EntityManager,
  endpoint: Pick<WebhookEndpoint, 'id' | 'orgId'>,
  secrets: WebhookSecrets,
  activeKeyId?: string | null,
): Promise<Pick<WebhookEndpoint, 'sealedSecrets' | 'dataKeyId'>> {
  const named = secrets.previous
    .slice(0, maxPrevious)
    .map((secret, index) => [`previous${index || ''}`, secret]);
  const seal = () =>
    vault.seal(em, encryptionContext(endpoint), {
      current: secrets.current,
      ...Object.fromEntries(named),
      ...(secrets.url && { url: secrets.url }),
    });
  let sealed = await seal();
  if (sealed.dataKeyId !== activeKeyId) {
    vault.invalidateSealKey(endpoint.orgId);
    sealed = await seal();
  }
  return { sealedSecrets: sealed.text, dataKeyId: sealed.dataKeyId };
}

/**
 * Decrypts the secrets of an endpoint.
 *
 * @param endpoint loaded with `sealedSecrets` and `mac`
 * @throws MacMismatch if the row was changed outside this server
 * @throws DecryptionError
 */
export async function openWebhookSecrets(
  vault: Vault,
  em: EntityManager,
  endpoint: WebhookEndpoint,
): Promise<WebhookSecrets> {
  (await vault.rowMacs(em)).verify(em, WebhookEndpoint, endpoint);
  const sealed = { text: endpoint.sealedSecrets, dataKeyId: endpoint.dataKeyId };
  const { current, url, ...others } = await vault.open(em, encryptionContext(endpoint), sealed);
  if (!current) throw new TypeError('The endpoint has no secret.');
  const previous = Array.from({ length: maxPrevious }, (_, index) => others[`previous${index || ''}`]);
  return { current, previous: previous.filter((secret) => secret !== undefined), url };
}

/**
 * Signs a message as Standard Webhooks says, with a signature for each secret.
 *
 * @param timestamp in seconds since the epoch
 */
export function signMessage(
  secrets: readonly Secret[],
  { id, timestamp, body }: { id: string; timestamp: number; body: string },
): Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string> {
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.reveal().slice(secretPrefix.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.join(' '),
  };
}

/** A ciphertext does not decrypt for another endpoint, or as the credentials of a connection. */
function encryptionContext({ id, orgId }: Pick<WebhookEndpoint, 'id' | 'orgId'>) {
  return { orgId, connectionId: id, app: 'webhook-endpoint', method: 'standard-webhooks', host: '' };
}
