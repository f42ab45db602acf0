import type { EntityManager } from '@mikro-orm/postgresql';
import type { AppConnection } from '../../src/connections/app-connection.entity.ts';
import type { Vault } from '../../src/encryption/vault.ts';

/** The API token of a row that was loaded with `sealedCredentials`; undefined when it does not decrypt. */
export async function decryptApiToken(
  ...given: Parameters<typeof decryptSecrets>
): Promise<string | undefined> {
  return (await decryptSecrets(...given))?.apiToken?.reveal();
}

/** The secrets of a row that was loaded with `sealedCredentials`, by name; undefined when they do not decrypt. */
export async function decryptSecrets(row: AppConnection, em: EntityManager, vault: Vault) {
  const { id: connectionId, orgId, app, method, publicCredentials, sealedCredentials, dataKeyId } = row;
  const host = new URL(publicCredentials.instanceUrl ?? '').host;
  const binding = { connectionId, orgId, app, method, host };
  const sealed = { text: sealedCredentials ?? '', dataKeyId };
  return vault.open(em, binding, sealed).catch(() => undefined);
}
