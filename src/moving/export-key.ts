import {
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  randomUUID,
} from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { z } from 'zod';
import { currentTime } from '../common/clock.ts';
import { StartupError } from '../common/errors.ts';
import { version } from '../common/server-identity.ts';
import { migrations } from '../database/migrations/list.ts';
import { integrityOwner } from '../encryption/data-key.entity.ts';
import { DecryptionError, openJwe, sealJwe } from '../encryption/jwe.ts';
import type { DataKeyBinding } from '../encryption/root-key.ts';
import type { Vault } from '../encryption/vault.ts';
import { openAsRecipient, type Recipient, sealForRecipient } from './recipient.ts';
import { damagedFile } from './sealed-stream.ts';

const format = 'app-connections-export';
const lastMigration = migrations.at(-1)?.name;

/** A text that messages repeat before it is authenticated: nothing in it controls a terminal. */
const word = z.string().regex(/^[\w.+-]{1,100}$/);

/** How the secret of an export is encrypted: under a root key that both sides have, or for the key of the other side. */
const wrappedSecret = z.union([
  z.strictObject({ rootKeyId: word, wrapped: z.string() }),
  z.strictObject({ recipient: word, sealed: z.string() }),
]);

/** The first line of an export. It is in clear, and authenticated by everything after it. */
const exportHeader = z.strictObject({
  format: z.literal(format),
  formatVersion: z.int(),
  id: z.guid(),
  createdAt: z.iso.datetime(),
  /** The version of the server, and its last migration. */
  version: word,
  migration: word,
  secret: wrappedSecret,
});

export type ExportHeader = z.infer<typeof exportHeader>;

/** The keys of one export, derived from its secret. */
export interface ExportKeys {
  header: ExportHeader;
  /** Encrypts the file after the header. */
  stream: KeyObject;
  /** Encrypts the data keys in it once more. */
  dataKeys: KeyObject;
  /** Computes fingerprints of data keys, by which equal ones are recognised. */
  fingerprints: KeyObject;
}

/**
 * Makes the header and the keys of a new export.
 *
 * @param recipient the key of the other side; without one, the primary root key encrypts the secret
 * @throws KmsUnavailableError
 */
export async function createExportKeys(
  vault: Vault,
  recipient: Recipient | undefined,
): Promise<{ line: string; keys: ExportKeys }> {
  const id = randomUUID();
  const secret = randomBytes(32);
  const header: ExportHeader = {
    format,
    ...{ formatVersion: 1, id, createdAt: currentTime().toISOString(), version },
    migration: String(lastMigration),
    secret: recipient
      ? { recipient: recipient.text, sealed: await sealForRecipient(secret, recipient, id) }
      : await vault.dataKeys.keyring.wrap(secret, toBinding(id)),
  };
  const line = JSON.stringify(header);
  return { line, keys: deriveKeys(header, line, secret) };
}

/**
 * Reads the header of an export, and opens its secret.
 *
 * @throws StartupError if it is no export of a version that this one can read, or the key that opens it is missing
 * @throws KmsUnavailableError
 */
export async function openExportKeys(
  em: EntityManager,
  vault: Vault,
  line: string,
  rootKeyLocation: string,
): Promise<ExportKeys> {
  const header = parseHeader(line);
  const secret = await openSecret(em, vault, header, rootKeyLocation);
  return deriveKeys(header, line, secret);
}

function parseHeader(line: string): ExportHeader {
  const parsed = exportHeader.safeParse(parseJson(line));
  if (!parsed.success)
    throw new StartupError('it is no export of "app-connections export", or its first line was changed');
  const { formatVersion, migration, version: exporter } = parsed.data;
  if (formatVersion !== 1 || migration !== lastMigration)
    throw new StartupError(
      `it was exported by version ${exporter} (migration ${migration}), and this is version ${version} (${lastMigration}); upgrade the older one of the two servers, and export it again`,
    );
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function openSecret(
  em: EntityManager,
  vault: Vault,
  { id, secret }: ExportHeader,
  rootKeyLocation: string,
): Promise<Uint8Array> {
  const { keyring } = vault.dataKeys;
  try {
    if ('recipient' in secret) return await openAsRecipient(em, vault, secret);
    if (!keyring.has(secret.rootKeyId))
      throw new StartupError(
        `it is encrypted under the root key "${secret.rootKeyId}", which is not in ${rootKeyLocation}; add that root key, or export it with --recipient`,
      );
    return await keyring.unwrap({ ...secret, ...toBinding(id) });
  } catch (error) {
    if (error instanceof DecryptionError && 'rootKeyId' in secret)
      throw new StartupError(
        `the root key "${secret.rootKeyId}" in ${rootKeyLocation} is not the one that encrypted it, or its first line was changed`,
      );
    if (/^ERR_(JOSE|JWE|JWK)/.test(String(Object(error).code))) throw damagedFile();
    throw error;
  }
}

function toBinding(id: string): DataKeyBinding {
  return { id, orgId: integrityOwner, purpose: 'EXPORT' };
}

function deriveKeys(header: ExportHeader, line: string, secret: Uint8Array): ExportKeys {
  const salt = createHash('sha256').update(line).digest();
  const derive = (use: string) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', secret, salt, `${format} ${use}`, 32)));
  return {
    header,
    ...{ stream: derive('stream'), dataKeys: derive('data keys'), fingerprints: derive('fingerprints') },
  };
}

/** Encrypts a data key for the export. */
export function sealDataKey(
  { dataKeys, header }: ExportKeys,
  key: KeyObject,
  binding: DataKeyBinding,
): string {
  return sealJwe(key.export(), dataKeys, header.id, toContext(binding));
}

/** @throws DecryptionError */
export function openDataKey({ dataKeys }: ExportKeys, sealed: string, binding: DataKeyBinding) {
  return openJwe(sealed, { subject: 'The data key', getKey: () => dataKeys, context: toContext(binding) });
}

function toContext({ id, orgId, purpose }: DataKeyBinding): Record<string, string> {
  return { dk: id, org: orgId, use: purpose };
}

/** Computes what equal data keys have in common in one export, in hex. */
export function fingerprint({ fingerprints }: ExportKeys, key: Uint8Array): string {
  return createHmac('sha256', fingerprints).update(key).digest('hex');
}
