import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { operatorActor } from '../administration/organisations.ts';
import { type AuditDeps, appendEvent } from '../audit/hash-chain.ts';
import { currentTime } from '../common/clock.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { type ReencryptDeps, reencryptConnections } from '../connections/operations/reencrypt.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { DecryptionError } from '../encryption/jwe.ts';
import type { Wrapped } from '../encryption/keyring.ts';
import { MacMismatch } from '../encryption/row-macs.ts';
import type { Vault } from '../encryption/vault.ts';
import { reencryptWebhookSecrets } from '../webhooks/reencrypt.ts';
import { WebhookEndpoint } from '../webhooks/webhook-endpoint.entity.ts';

/** The dependencies of a rotation. */
export type RotationDeps = AuditDeps & ReencryptDeps;

/** Options of a rotation. */
export interface RotationOptions {
  /** Whether to replace `SEAL` keys that were created under another root key, and to re-encrypt all credentials. */
  reseal: boolean;
  /** Receives the number of connections that were re-encrypted since the last call. */
  onProgress: (connections: number) => void;
}

/** The result of a rotation. */
export interface RotationResult {
  /** Number of data keys that were wrapped under the primary root key. */
  rewrappedKeys: number;
  /** Number of organisations with a new `SEAL` key. */
  sealKeys: number;
  /** The keys that could not be rotated, each with the reason. */
  failures: string[];
}

/** Servers that still have the old primary may create organisations meanwhile; each round covers those. */
const maxRounds = 10;

/**
 * Wraps every data key under the primary root key and, with `reseal`, re-encrypts credentials under new data keys. It can be
 * interrupted and repeated at any time, and run beside servers and other rotations. It ends when nothing is left to do.
 * Each organisation whose keys change gets one audit event, in the same transaction.
 *
 * @throws KmsUnavailableError
 */
export async function rotateKeys(deps: RotationDeps, options: RotationOptions): Promise<RotationResult> {
  const result: RotationResult = { rewrappedKeys: 0, sealKeys: 0, failures: [] };
  const stuck = new Set<string>();
  let reencryptionFailures: string[] = [];
  for (let round = 1; round <= maxRounds; round += 1) {
    const due = (await findOrganisationsToRotate(deps, options)).filter((orgId) => !stuck.has(orgId));
    if (round > 1 && due.length === 0) break;
    for (const orgId of due) {
      const { rewrappedKeys, sealKeys, failures } = await rotateOrganisation(deps, options, orgId);
      result.rewrappedKeys += rewrappedKeys;
      result.sealKeys += sealKeys;
      result.failures.push(...failures);
      if (failures.length > 0) stuck.add(orgId);
    }
    if (options.reseal) reencryptionFailures = await reencryptAll(deps, options);
  }
  return { ...result, failures: [...result.failures, ...reencryptionFailures] };
}

async function findOrganisationsToRotate(
  { database, vault }: RotationDeps,
  { reseal }: RotationOptions,
): Promise<string[]> {
  const { primaryId } = vault.dataKeys.keyring;
  // A destroyed key has no root key.
  const found: { org_id: string }[] = await database.asSystem().execute(
    `select distinct org_id from data_key where root_key_id <> '' and (root_key_id <> ?
       or (? and purpose = 'SEAL' and retired_at is null and made_under <> ?)) order by org_id`,
    [primaryId, reseal, primaryId],
  );
  return found.map(({ org_id: orgId }) => orgId);
}

async function rotateOrganisation(
  deps: RotationDeps,
  { reseal }: RotationOptions,
  orgId: string,
): Promise<RotationResult> {
  const { database, vault } = deps;
  const { primaryId } = vault.dataKeys.keyring;
  // A fixed order of locks keeps concurrent rotations from deadlocking.
  const stored = await database.asSystem().find(DataKey, { orgId }, { orderBy: { id: 'asc' } });
  const { rewrapped, failures } = await rewrap(
    deps,
    stored.filter(({ rootKeyId }) => rootKeyId && rootKeyId !== primaryId),
  );
  const active = stored.find(({ purpose, retiredAt }) => purpose === 'SEAL' && !retiredAt);
  const outdated = reseal && active && active.madeUnder !== primaryId ? active : undefined;
  const successor = outdated && (await vault.dataKeys.generate(orgId, 'SEAL'));
  try {
    return await database.asSystem().transactional(async (em) => {
      let rewrappedKeys = 0;
      for (const { dataKey, under } of rewrapped)
        rewrappedKeys += await updateDataKey(deps, em, dataKey, under);
      const sealKeys = outdated && successor ? await replaceSealKey(deps, em, outdated, successor) : 0;
      const fields = [...(rewrappedKeys > 0 ? ['rootKey'] : []), ...(sealKeys > 0 ? ['sealKey'] : [])];
      if (fields.length > 0) {
        await appendEvent(em, deps, {
          ...operatorActor,
          orgId,
          action: 'ROTATE_KEYS',
          outcome: 'OK',
          fields,
        });
      }
      return { rewrappedKeys, sealKeys, failures };
    });
  } catch (error) {
    // A change without its audit event must not happen.
    if (!(error instanceof DecryptionError || error instanceof MacMismatch)) throw error;
    const failure = `the keys of organisation ${orgId}, because its audit trail cannot be continued`;
    return { rewrappedKeys: 0, sealKeys: 0, failures: [...failures, failure] };
  }
}

/** Wraps data keys under the primary root key, and reports those that do not unwrap. */
async function rewrap({ database, vault }: RotationDeps, dataKeys: readonly DataKey[]) {
  const em = database.asSystem();
  const macs = await vault.rowMacs(em);
  const rewrapped: { dataKey: DataKey; under: Wrapped }[] = [];
  const failures: string[] = [];
  for (const dataKey of dataKeys) {
    if (!macs.isAuthentic(em, DataKey, dataKey)) {
      failures.push(`data key ${dataKey.id} of organisation ${dataKey.orgId}, because its row was changed`);
      continue;
    }
    try {
      rewrapped.push({ dataKey, under: await vault.dataKeys.rewrap(dataKey) });
    } catch (error) {
      if (!(error instanceof DecryptionError)) throw error;
      failures.push(`data key ${dataKey.id} of organisation ${dataKey.orgId}, because it does not open`);
    }
  }
  return { rewrapped, failures };
}

/**
 * Updates a verified data key, unless another process has changed it meanwhile (optimistic lock on its MAC). The object is
 * updated too.
 *
 * @returns the number of updated rows
 */
async function updateDataKey(
  { vault }: RotationDeps,
  em: EntityManager,
  dataKey: DataKey,
  change: Partial<Pick<DataKey, 'wrapped' | 'rootKeyId' | 'retiredAt'>>,
): Promise<number> {
  const { id, mac } = dataKey;
  const columns = {
    ...change,
    mac: (await vault.rowMacs(em)).signed(em, DataKey, { ...dataKey, ...change }).mac,
  };
  const changed = await em.nativeUpdate(DataKey, { id, mac }, columns);
  if (changed > 0) Object.assign(dataKey, columns);
  return changed;
}

/** Replaces a data key by its successor, unless another process has. Returns the number of replaced keys. */
async function replaceSealKey(
  deps: RotationDeps,
  em: EntityManager,
  outdated: DataKey,
  successor: Awaited<ReturnType<Vault['dataKeys']['generate']>>,
): Promise<number> {
  const macs = await deps.vault.rowMacs(em);
  macs.verify(em, DataKey, outdated);
  const replaced = await updateDataKey(deps, em, outdated, { retiredAt: currentTime() });
  if (replaced > 0) await em.insert(DataKey, macs.signed(em, DataKey, successor));
  return replaced;
}

async function reencryptAll(deps: RotationDeps, { onProgress }: RotationOptions): Promise<string[]> {
  const where = { purpose: 'SEAL', retiredAt: { $ne: null }, rootKeyId: { $ne: '' } } as const;
  const retired = await deps.database.asSystem().find(DataKey, where, { orderBy: { id: 'asc' } });
  const failures: string[] = [];
  for (const { id, orgId } of retired) {
    const ids = await reencryptConnections(deps, id, onProgress);
    failures.push(
      ...ids.map((each) => `connection ${each} of organisation ${orgId}, because it does not open`),
    );
    const endpointIds = await reencryptWebhookSecrets(deps, id);
    failures.push(
      ...endpointIds.map(
        (each) => `webhook endpoint ${each} of organisation ${orgId}, because its secret does not open`,
      ),
    );
    if (ids.length === 0 && endpointIds.length === 0) await destroyDataKey(deps, id);
  }
  return failures;
}

/**
 * Destroys a retired data key under which no stored credentials are encrypted; only backups still have such. Its row stays,
 * so that servers that cached it as active find it retired.
 */
async function destroyDataKey(deps: RotationDeps, id: string): Promise<void> {
  await deps.database.asSystem().transactional(async (em) => {
    // Waits for transactions that have just stored credentials under this key; later ones wait for this lock.
    const dataKey = await em.findOneOrFail(DataKey, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (!dataKey.rootKeyId || (await em.count(AppConnection, { dataKeyId: id })) > 0) return;
    if ((await em.count(WebhookEndpoint, { dataKeyId: id })) > 0) return;
    if (!(await deps.vault.rowMacs(em)).isAuthentic(em, DataKey, dataKey)) return;
    dataKey.wrapped = '';
    dataKey.rootKeyId = '';
    await em.flush();
  });
}
