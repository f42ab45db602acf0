import type { EntityManager } from '@mikro-orm/postgresql';
import type { AppConnection } from '../../src/connections/app-connection.entity.ts';
import type { Vault } from '../../src/encryption/vault.ts';

/** The API token of a row that was loaded with `sealedCredentials`; undefined when it does not decrypt. */
export async function decryptApiToken(
  row: AppConnection,
  em: EntityManager,
  vault: Vault,
): Promise<string | undefined> {
  const { id: connectionId, orgId, app, method, publicCredentials, sealedCredentials, dataKeyId } = row;
  const host = new URL(publicCredentials.instanceUrl ?? '').host;
  const binding = { connectionId, orgId, app, method, host };
  const sealed = { text: sealedCredentials ?? '', dataKeyId };
  const secrets = await vault.open(em, binding, sealed).catch(() => undefined);
  return secrets?.apiToken?.reveal();
}
