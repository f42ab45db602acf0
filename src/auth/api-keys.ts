import { hash, randomBytes, randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { EntityManager } from '@mikro-orm/postgresql';
import { Secret } from '../common/secret.ts';
import type { Vault } from '../encryption/vault.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import type { Scope } from '../identity/caller.ts';
import { AuthenticationError } from './authentication-error.ts';

const prefix = 'ack_';
const randomLength = 43;
const checksumLength = 6;
const generatedLength = randomLength + checksumLength;
const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Before there were checksums, keys were shorter and had other letters. */
const withoutChecksum = /^ack_[\w-]{43}$/;

/** What a key looks like that this server made, for those who search for leaked ones. */
export const generatedKeyPattern = new RegExp(`^${prefix}[0-9A-Za-z]{${generatedLength}}$`);

/**
 * A new API key: a prefix that tells what it is, 256 random bits in letters and digits, and the CRC-32 of all that, so
 * that a scanner can tell a key from something that looks like one, and a typo is told without a look-up.
 */
export function generateApiKey(): Secret {
  const random = toBase62(BigInt(`0x${randomBytes(32).toString('hex')}`), randomLength);
  const start = `${prefix}${random}`;
  return new Secret(`${start}${computeChecksum(start)}`);
}

/**
 * Tells a typo without a look-up. Cut off right before its checksum, a key looks like one of those that had none; and
 * of keys that were made by hand this says nothing.
 *
 * @throws AuthenticationError when a key cannot be whole
 */
export function assertChecksum(key: Secret): void {
  const text = key.reveal();
  if (withoutChecksum.test(text) || hasValidChecksum(text)) return;
  if (generatedKeyPattern.test(text)) {
    throw new AuthenticationError('The API key is mistyped: its checksum does not fit. Copy it again.');
  }
  // Where only the prefix suffered, all that the checksum needs is still there; "_" may have gone astray in it.
  if (
    text.startsWith(prefix) ||
    hasValidChecksum(`${prefix}${text.replaceAll('_', '').slice(-generatedLength)}`)
  ) {
    throw new AuthenticationError(
      'The API key is cut off or mistyped: it is ack_ with 49 letters and digits.',
    );
  }
}

function hasValidChecksum(text: string): boolean {
  return generatedKeyPattern.test(text) && text.endsWith(computeChecksum(text.slice(0, -checksumLength)));
}

/** What an API key is to be like. */
export interface NewApiKey {
  orgId: string;
  name: string;
  key: Secret;
  scopes: readonly Scope[];
  /** Absent or null: all projects of the organisation. */
  projectIds?: readonly string[] | null | undefined;
  /** Absent or null: never. */
  expiresAt?: Date | null | undefined;
  /** `Caller.id` of who makes it; absent: the operator. */
  createdBy?: string | undefined;
}

/** Adds an API key to an organisation, of which only a SHA-256 is stored; the caller flushes. */
export function addApiKey(em: EntityManager, { key, ...options }: NewApiKey): ApiKey {
  return em.create(ApiKey, {
    id: randomUUID(),
    orgId: options.orgId,
    name: options.name,
    hash: digestApiKey(key),
    scopes: [...new Set(options.scopes)],
    projectIds: options.projectIds ? [...new Set(options.projectIds)] : null,
    createdAt: new Date(),
    createdBy: options.createdBy ?? null,
    expiresAt: options.expiresAt ?? null,
    revokedAt: null,
    lastUsedAt: null,
  });
}

/**
 * The stored record of a key, also of one that lets nobody in any more, or null when it is nobody's. A record that was
 * changed by something other than this server is nobody's.
 */
export async function findApiKey(em: EntityManager, vault: Vault, key: Secret): Promise<ApiKey | null> {
  const found = await em.findOne(ApiKey, { hash: digestApiKey(key) });
  const macs = await vault.rowMacs(em);
  return found && macs.isAuthentic(em, ApiKey, found) ? found : null;
}

/** Whether a key lets its holder in. */
export function isActive({ revokedAt, expiresAt }: ApiKey): boolean {
  return !revokedAt && (!expiresAt || expiresAt > new Date());
}

/** @throws AuthenticationError when a key lets nobody in any more */
export function assertActive(apiKey: ApiKey): void {
  if (isActive(apiKey)) return;
  const { id: keyId, orgId, revokedAt } = apiKey;
  throw new AuthenticationError(`This API key has ${revokedAt ? 'been revoked' : 'expired'}.`, {
    claimedIdentity: { orgId, keyId },
  });
}

/** SHA-256, in hex. What is hashed is random, so it cannot be found by trying. */
export function digestApiKey(key: Secret): string {
  return hash('sha256', key.reveal(), 'hex');
}

function computeChecksum(text: string): string {
  return toBase62(BigInt(crc32(text)), checksumLength);
}

function toBase62(value: bigint, length: number): string {
  const base = BigInt(digits.length);
  let rest = value;
  let text = '';
  for (; text.length < length; rest /= base) text = `${digits[Number(rest % base)]}${text}`;
  return text;
}
