import type { KeyObject } from 'node:crypto';
import { canonicalJson } from '../common/canonical-json.ts';
import { Secret } from '../common/secret.ts';
import { openJwe, sealJwe } from './jwe.ts';

/** The additional authenticated data of encrypted credentials. They decrypt under the same context only. */
export interface EncryptionContext {
  orgId: string;
  connectionId: string;
  app: string;
  method: string;
  /** The host that the credentials are for; empty for an app without one. */
  host: string;
}

/** Encrypts secrets as a compact JWE. */
export function sealSecrets(
  secrets: Readonly<Record<string, Secret>>,
  keyId: string,
  key: KeyObject,
  context: EncryptionContext,
): string {
  return sealJwe(new TextEncoder().encode(canonicalJson(secrets)), key, keyId, toHeader(context));
}

/**
 * Decrypts secrets.
 *
 * @throws DecryptionError if the key or the context is another
 */
export async function openSecrets(
  text: string,
  key: KeyObject,
  context: EncryptionContext,
): Promise<Record<string, Secret>> {
  const plaintext = await openJwe(text, {
    subject: 'The sealed text',
    getKey: () => key,
    context: toHeader(context),
  });
  const values: Record<string, string> = JSON.parse(new TextDecoder().decode(plaintext));
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, new Secret(value)]));
}

/** The members of the protected header. */
function toHeader({ orgId, connectionId, app, method, host }: EncryptionContext): Record<string, string> {
  return { org: orgId, cid: connectionId, app, method, host };
}
