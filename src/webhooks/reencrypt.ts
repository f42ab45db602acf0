import type { Database } from '../database/database.ts';
import { DecryptionError } from '../encryption/jwe.ts';
import { MacMismatch } from '../encryption/row-macs.ts';
import type { Vault } from '../encryption/vault.ts';
import { openWebhookSecrets, sealWebhookSecrets } from './secrets.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';

const batchSize = 8;

/**
 * Re-encrypts the secrets of webhook endpoints under a retired data key, as `reencryptConnections` does for credentials.
 *
 * @returns the ids of the endpoints whose secrets cannot be decrypted; they stay the same
 */
export async function reencryptWebhookSecrets(
  { database, vault }: { database: Database; vault: Vault },
  dataKeyId: string,
): Promise<string[]> {
  const broken: string[] = [];
  for (;;) {
    const em = database.asSystem();
    const batch = await em.find(
      WebhookEndpoint,
      { dataKeyId, id: { $nin: broken } },
      { populate: ['sealedSecrets', 'mac'], orderBy: { id: 'asc' }, limit: batchSize },
    );
    if (batch.length === 0) return broken;
    for (const endpoint of batch) {
      try {
        const secrets = await openWebhookSecrets(vault, em, endpoint);
        const sealed = await sealWebhookSecrets(vault, em, endpoint, secrets);
        const { mac } = (await vault.rowMacs(em)).signed(em, WebhookEndpoint, { ...endpoint, ...sealed });
        // An endpoint that was changed meanwhile has another MAC, and is found again.
        const unchanged = { id: endpoint.id, mac: endpoint.mac };
        await em.nativeUpdate(WebhookEndpoint, unchanged, { ...sealed, mac });
      } catch (error) {
        if (!(error instanceof DecryptionError || error instanceof MacMismatch)) throw error;
        broken.push(endpoint.id);
      }
    }
  }
}
