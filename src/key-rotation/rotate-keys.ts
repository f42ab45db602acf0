import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import { operatorActor } from '../administration/organisations.ts';
import { type AuditDeps, appendEvent } from '../audit/hash-chain.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { type ReencryptDeps, reencryptConnections } from '../connections/operations/reencrypt.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import type { Wrapped } from '../encryption/keyring.ts';
import { MacMismatch } from '../encryption/row-macs.ts';
import { DecryptionError, type Vault } from '../encryption/vault.ts';

/** What rotating takes. */
export type RotationDeps = AuditDeps & ReencryptDeps;

/** What is to be rotated, and whom to tell of it. */
export interface RotationOptions {
  /** Whether each organisation that seals under a key of another root key's time gets a new one, and all is sealed again. */
  reseal: boolean;
  /** Is called now and then with how many connections were sealed again since the last time. */
  tell: (connections: number) => void;
}

/** What a rotation has done. */
export interface RotationResult {
  /** How many were wrapped anew. */
  dataKeys: number;
  /** How many organisations have got a new key to seal under. */
  sealKeys: number;
  /** What had to be left as it was, and why. */
  broken: string[];
}

/** Others may make organisations under another root key meanwhile, but hardly that often. */
const maxRounds = 10;

/**
 * Wraps every data key under the root key that wraps now, and seals again what is to be. It may be cut off at any moment
 * and begun anew, beside servers at work and beside another one of its kind, and goes on until it finds nothing more to
 * do. Each organisation whose keys it touches gets one event that says so, in the transaction that does it.
 *
 * @throws KmsUnavailableError
 */
export async function rotateKeys(deps: RotationDeps, rotation: RotationOptions): Promise<RotationResult> {
  const rotated: RotationResult = { dataKeys: 0, sealKeys: 0, broken: [] };
  const stuck = new Set<string>();
  let unsealable: string[] = [];
  for (let round = 1; round <= maxRounds; round += 1) {
    const due = (await findOrganisationsToRotate(deps, rotation)).filter((orgId) => !stuck.has(orgId));
    if (round > 1 && due.length === 0) break;
    for (const orgId of due) {
      const { dataKeys, sealKeys, broken } = await rotateOrganisation(deps, rotation, orgId);
      rotated.dataKeys += dataKeys;
      rotated.sealKeys += sealKeys;
      rotated.broken.push(...broken);
      if (broken.length > 0) stuck.add(orgId);
    }
    if (rotation.reseal) unsealable = await reencryptAll(deps, rotation);
  }
  return { ...rotated, broken: [...rotated.broken, ...unsealable] };
}

async function findOrganisationsToRotate(
  { database, vault }: RotationDeps,
  { reseal }: RotationOptions,
): Promise<string[]> {
  const first = vault.keyring.primaryId;
  const found: { org_id: string }[] = await database.asSystem().execute(
    `select distinct org_id from data_key where root_key_id <> '' and (root_key_id <> ?
       or (? and purpose = 'SEAL' and retired_at is null and made_under <> ?)) order by org_id`,
    [first, reseal, first],
  );
  return found.map(({ org_id: orgId }) => orgId);
}

async function rotateOrganisation(
  deps: RotationDeps,
  { reseal }: RotationOptions,
  orgId: string,
): Promise<RotationResult> {
  const { database, vault } = deps;
  const first = vault.keyring.primaryId;
  // Two that rotate at once lock rows in one order.
  const stored = await database.asSystem().find(DataKey, { orgId }, { orderBy: { id: 'asc' } });
  const { rewrapped, broken } = await rewrap(
    deps,
    stored.filter(({ rootKeyId }) => rootKeyId && rootKeyId !== first),
  );
  const active = stored.find(({ purpose, retiredAt }) => purpose === 'SEAL' && !retiredAt);
  const outdated = reseal && active && active.madeUnder !== first ? active : undefined;
  const successor = outdated && (await vault.makeDataKey(orgId, 'SEAL'));
  try {
    return await database.asSystem().transactional(async (em) => {
      let dataKeys = 0;
      for (const { dataKey, under } of rewrapped) dataKeys += await replaceDataKey(deps, em, dataKey, under);
      const sealKeys = outdated && successor ? await replace(deps, em, outdated, successor) : 0;
      const fields = [...(dataKeys > 0 ? ['rootKey'] : []), ...(sealKeys > 0 ? ['sealKey'] : [])];
      if (fields.length > 0) {
        await appendEvent(em, deps, {
          ...operatorActor,
          orgId,
          action: 'ROTATE_KEYS',
          outcome: 'OK',
          fields,
        });
      }
      return { dataKeys, sealKeys, broken };
    });
  } catch (error) {
    // Nothing is done that the audit trail cannot tell of.
    if (!(error instanceof DecryptionError || error instanceof MacMismatch)) throw error;
    const untold = `the keys of organisation ${orgId}, because its audit trail cannot be continued`;
    return { dataKeys: 0, sealKeys: 0, broken: [...broken, untold] };
  }
}

/** Data keys under the root key that wraps now, but for those that do not open. */
async function rewrap({ database, vault }: RotationDeps, dataKeys: readonly DataKey[]) {
  const em = database.asSystem();
  const macs = await vault.rowMacs(em);
  const rewrapped: { dataKey: DataKey; under: Wrapped }[] = [];
  const broken: string[] = [];
  for (const dataKey of dataKeys) {
    if (!macs.isAuthentic(em, DataKey, dataKey)) {
      broken.push(`data key ${dataKey.id} of organisation ${dataKey.orgId}, because its row was changed`);
      continue;
    }
    try {
      rewrapped.push({ dataKey, under: await vault.rewrap(dataKey) });
    } catch (error) {
      if (!(error instanceof DecryptionError)) throw error;
      broken.push(`data key ${dataKey.id} of organisation ${dataKey.orgId}, because it does not open`);
    }
  }
  return { rewrapped, broken };
}

/**
 * Changes a data key that was verified, unless another process has changed it meanwhile; says how many it has changed. The
 * object has the change too.
 */
async function replaceDataKey(
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

/** Lets another data key take over, unless one has already; says how many have. */
async function replace(
  deps: RotationDeps,
  em: EntityManager,
  outdated: DataKey,
  successor: Awaited<ReturnType<Vault['makeDataKey']>>,
): Promise<number> {
  const macs = await deps.vault.rowMacs(em);
  macs.verify(em, DataKey, outdated);
  const replaced = await replaceDataKey(deps, em, outdated, { retiredAt: new Date() });
  if (replaced > 0) await em.insert(DataKey, macs.signed(em, DataKey, successor));
  return replaced;
}

async function reencryptAll(deps: RotationDeps, { tell }: RotationOptions): Promise<string[]> {
  const where = { purpose: 'SEAL', retiredAt: { $ne: null }, rootKeyId: { $ne: '' } } as const;
  const retired = await deps.database.asSystem().find(DataKey, where, { orderBy: { id: 'asc' } });
  const broken: string[] = [];
  for (const { id, orgId } of retired) {
    const ids = await reencryptConnections(deps, id, tell);
    broken.push(
      ...ids.map((each) => `connection ${each} of organisation ${orgId}, because it does not open`),
    );
    if (ids.length === 0) await destroyDataKey(deps, id);
  }
  return broken;
}

/**
 * Destroys a retired data key that nothing is sealed under: what is sealed under it is in backups alone. Its row stays, so
 * that servers that had it active find it retired.
 */
async function destroyDataKey(deps: RotationDeps, id: string): Promise<void> {
  await deps.database.asSystem().transactional(async (em) => {
    // Waits for those who have just stored something under it; those who come later wait for this.
    const dataKey = await em.findOneOrFail(DataKey, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (!dataKey.rootKeyId || (await em.count(AppConnection, { dataKeyId: id })) > 0) return;
    if (!(await deps.vault.rowMacs(em)).isAuthentic(em, DataKey, dataKey)) return;
    dataKey.wrapped = '';
    dataKey.rootKeyId = '';
    await em.flush();
  });
}
