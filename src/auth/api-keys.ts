import { hash, randomBytes, randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { EntityManager } from '@mikro-orm/postgresql';
import { currentTime } from '../common/clock.ts';
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

/** The format of keys before keys had a checksum: shorter, in base64url. */
const keyWithoutChecksumPattern = /^ack_[\w-]{43}$/;

/** The part of generated credentials after their prefix. */
const isGenerated = new RegExp(`^[0-9A-Za-z]{${generatedLength}}$`);

/** The format of generated keys. Secret scanners can search for it. */
const generatedKeyPattern = new RegExp(`^${prefix}[0-9A-Za-z]{${generatedLength}}$`);

/**
 * Generates an API key: a prefix, 256 random bits in base 62, and a CRC-32 of both. With the checksum, secret scanners
 * have no false positives, and the server detects typos without a database query.
 */
export function generateApiKey(): Secret {
  return generateCredential(prefix);
}

/** Generates a credential in the format of API keys, with another prefix. */
export function generateCredential(prefix: string): Secret {
  const random = toBase62(BigInt(`0x${randomBytes(32).toString('hex')}`), randomLength);
  const body = `${prefix}${random}`;
  return new Secret(`${body}${computeChecksum(body)}`);
}

/** Whether a credential of `generateCredential` is complete and has no typo. */
export function isCompleteCredential(credential: Secret, prefix: string): boolean {
  const text = credential.reveal();
  const isWellFormed = text.startsWith(prefix) && isGenerated.test(text.slice(prefix.length));
  return isWellFormed && text.endsWith(computeChecksum(text.slice(0, -checksumLength)));
}

/**
 * Detects truncated and mistyped keys without a database query. Not detected: a key that is truncated exactly before its
 * checksum, because older keys have that format, and keys that the operator chose, because they have no checksum.
 *
 * @throws AuthenticationError if the key is truncated or mistyped
 */
export function assertChecksum(key: Secret): void {
  const text = key.reveal();
  if (keyWithoutChecksumPattern.test(text) || hasValidChecksum(text)) return;
  if (generatedKeyPattern.test(text)) {
    throw new AuthenticationError('The API key is mistyped: its checksum does not match. Copy it again.');
  }
  // If only the prefix is damaged, the rest still has a valid checksum once a misplaced "_" is removed.
  if (
    text.startsWith(prefix) ||
    hasValidChecksum(`${prefix}${text.replaceAll('_', '').slice(-generatedLength)}`)
  ) {
    throw new AuthenticationError(
      'The API key is truncated or mistyped: a key is ack_ and 49 letters and digits.',
    );
  }
}

function hasValidChecksum(text: string): boolean {
  return generatedKeyPattern.test(text) && text.endsWith(computeChecksum(text.slice(0, -checksumLength)));
}

/** The input of `addApiKey`. */
export interface NewApiKey {
  orgId: string;
  name: string;
  key: Secret;
  scopes: readonly Scope[];
  /** The projects that the key is limited to. Absent or null: not limited. */
  projectIds?: readonly string[] | null | undefined;
  /** The connections that the key is limited to. Absent or null: not limited. */
  connectionIds?: readonly string[] | null | undefined;
  /** Absent or null: never. */
  expiresAt?: Date | null | undefined;
  /** `Caller.id` of the creator. Absent: the operator. */
  createdBy?: string | undefined;
}

/** Adds an API key to an organisation. Only the SHA-256 of the key is stored. The caller flushes. */
export function addApiKey(em: EntityManager, { key, ...options }: NewApiKey): ApiKey {
  return em.create(ApiKey, {
    id: randomUUID(),
    orgId: options.orgId,
    name: options.name,
    hash: digestCredential(key),
    scopes: [...new Set(options.scopes)],
    projectIds: options.projectIds ? [...new Set(options.projectIds)] : null,
    connectionIds: options.connectionIds ? [...new Set(options.connectionIds)] : null,
    createdAt: currentTime(),
    createdBy: options.createdBy ?? null,
    expiresAt: options.expiresAt ?? null,
    revokedAt: null,
    lastUsedAt: null,
  });
}

/**
 * Finds the record of a key, also of a revoked or expired one. Returns null if there is none, or if its MAC is invalid
 * because the row was changed outside of this server.
 */
export async function findApiKey(em: EntityManager, vault: Vault, key: Secret): Promise<ApiKey | null> {
  const apiKey = await em.findOne(ApiKey, { hash: digestCredential(key) });
  const macs = await vault.rowMacs(em);
  return apiKey && macs.isAuthentic(em, ApiKey, apiKey) ? apiKey : null;
}

/** Whether a key is neither revoked nor expired. */
export function isActive({ revokedAt, expiresAt }: ApiKey): boolean {
  return !revokedAt && (!expiresAt || expiresAt > currentTime());
}

/** @throws AuthenticationError if the key is revoked or expired */
export function assertActive(apiKey: ApiKey): void {
  if (isActive(apiKey)) return;
  const { id: keyId, orgId, revokedAt } = apiKey;
  throw new AuthenticationError(`This API key has ${revokedAt ? 'been revoked' : 'expired'}.`, {
    claimedIdentity: { orgId, keyId },
  });
}

/**
 * Returns the SHA-256 of an API key or an access token in hex. Both have enough entropy that no salt and no slow hash is
 * needed.
 */
export function digestCredential(key: Secret): string {
  return hash('sha256', key.reveal(), 'hex');
}

function computeChecksum(text: string): string {
  return toBase62(BigInt(crc32(text)), checksumLength);
}

function toBase62(value: bigint, length: number): string {
  const base = BigInt(digits.length);
  let quotient = value;
  let text = '';
  for (; text.length < length; quotient /= base) text = `${digits[Number(quotient % base)]}${text}`;
  return text;
}
