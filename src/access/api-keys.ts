import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { Problem } from '../errors.ts';
import { Secret } from '../secrets/secret.ts';
import { ApiKey } from './api-key.entity.ts';
import { Caller, type Scope } from './caller.ts';

/** A new API key: 32 random bytes behind a prefix that tells what it is. */
export function generateApiKey(): Secret {
  return new Secret(`ack_${randomBytes(32).toString('base64url')}`);
}

/** Adds an API key to an organisation, of which only a SHA-256 is stored; the caller flushes. */
export function addApiKey(
  em: EntityManager,
  options: { orgId: string; name: string; key: Secret; scopes: readonly Scope[] },
): ApiKey {
  return em.create(ApiKey, {
    id: randomUUID(),
    orgId: options.orgId,
    name: options.name,
    hash: hashOf(options.key),
    scopes: [...options.scopes],
    createdAt: new Date(),
  });
}

/**
 * Finds out who asks.
 *
 * @param authorization the `Authorization` header, or null when there is none
 * @throws Problem `UNAUTHENTICATED` when there is no key, or nobody's
 */
export async function authenticate(em: EntityManager, authorization: string | null): Promise<Caller> {
  if (!authorization) throw unauthenticated('This needs an API key.');
  const [, key] = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(authorization) ?? [];
  if (!key) throw unauthenticated('The Authorization header is not of the form "Bearer <API key>".');
  const apiKey = await findApiKey(em, new Secret(key));
  if (!apiKey) throw unauthenticated('No such API key.');
  return new Caller(apiKey.orgId, apiKey.id, apiKey.scopes);
}

/** The stored record of a key, or null when it is nobody's. */
export async function findApiKey(em: EntityManager, key: Secret): Promise<ApiKey | null> {
  const hash = hashOf(key);
  const apiKey = await em.findOne(ApiKey, { hash });
  return apiKey && timingSafeEqual(Buffer.from(apiKey.hash), Buffer.from(hash)) ? apiKey : null;
}

function hashOf(key: Secret): string {
  return createHash('sha256').update(key.reveal()).digest('hex');
}

/** Nobody may come in like this, and how one may. */
export function unauthenticated(message: string): Problem {
  return new Problem('UNAUTHENTICATED', message, {
    remedy: 'Send the header "Authorization: Bearer <API key>".',
  });
}
