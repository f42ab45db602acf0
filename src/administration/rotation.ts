import type { EntityManager } from '@mikro-orm/postgresql';
import { type AuditParts, appendEvent } from '../audit/chain.ts';
import { type ResealParts, resealConnections } from '../connections/reseal.ts';
import { DataKey } from '../secrets/data-key.entity.ts';
import type { Wrapped } from '../secrets/keyring.ts';
import { SealBroken, type Vault } from '../secrets/vault.ts';
import { operator } from './organisations.ts';

/** What rotating takes. */
export type RotationParts = AuditParts & ResealParts;

/** What is to be rotated, and whom to tell of it. */
export interface Rotation {
  /** Whether each organisation that seals under a key of another root key's time gets a new one, and all is sealed again. */
  reseal: boolean;
  /** Is called now and then with how many connections were sealed again since the last time. */
  tell: (connections: number) => void;
}

/** What a rotation has done. */
export interface Rotated {
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
 * @throws KeyServiceFailure
 */
export async function rotateKeys(parts: RotationParts, rotation: Rotation): Promise<Rotated> {
  const rotated: Rotated = { dataKeys: 0, sealKeys: 0, broken: [] };
  const stuck = new Set<string>();
  let unsealable: string[] = [];
  for (let round = 1; round <= maxRounds; round += 1) {
    const due = (await organisationsDue(parts, rotation)).filter((orgId) => !stuck.has(orgId));
    if (round > 1 && due.length === 0) break;
    for (const orgId of due) {
      const { dataKeys, sealKeys, broken } = await rotateOrganisation(parts, rotation, orgId);
      rotated.dataKeys += dataKeys;
      rotated.sealKeys += sealKeys;
      rotated.broken.push(...broken);
      if (broken.length > 0) stuck.add(orgId);
    }
    if (rotation.reseal) unsealable = await resealAll(parts, rotation);
  }
  return { ...rotated, broken: [...rotated.broken, ...unsealable] };
}

async function organisationsDue({ database, vault }: RotationParts, { reseal }: Rotation): Promise<string[]> {
  const first = vault.keyring.primaryId;
  const found: { org_id: string }[] = await database.forkAcross().execute(
    `select distinct org_id from data_key where root_key_id <> ?
       or (? and purpose = 'SEAL' and retired_at is null and made_under <> ?) order by org_id`,
    [first, reseal, first],
  );
  return found.map(({ org_id: orgId }) => orgId);
}

async function rotateOrganisation(
  parts: RotationParts,
  { reseal }: Rotation,
  orgId: string,
): Promise<Rotated> {
  const { database, vault } = parts;
  const first = vault.keyring.primaryId;
  // Two that rotate at once lock rows in one order.
  const stored = await database.forkAcross().find(DataKey, { orgId }, { orderBy: { id: 'asc' } });
  const { rewrapped, broken } = await rewrap(
    parts,
    stored.filter(({ rootKeyId }) => rootKeyId !== first),
  );
  const active = stored.find(({ purpose, retiredAt }) => purpose === 'SEAL' && !retiredAt);
  const outdated = reseal && active && active.madeUnder !== first ? active : undefined;
  const successor = outdated && (await vault.makeDataKey(orgId, 'SEAL'));
  try {
    return await database.forkAcross().transactional(async (em) => {
      let dataKeys = 0;
      for (const { dataKey, under } of rewrapped) {
        const unchanged = { id: dataKey.id, wrapped: dataKey.wrapped };
        dataKeys += await em.nativeUpdate(DataKey, unchanged, under);
      }
      const sealKeys = outdated && successor ? await replace(em, outdated, successor) : 0;
      const fields = [...(dataKeys > 0 ? ['rootKey'] : []), ...(sealKeys > 0 ? ['sealKey'] : [])];
      if (fields.length > 0) {
        await appendEvent(em, parts, { ...operator, orgId, action: 'ROTATE_KEYS', outcome: 'OK', fields });
      }
      return { dataKeys, sealKeys, broken };
    });
  } catch (error) {
    // Nothing is done that the audit trail cannot tell of.
    if (!(error instanceof SealBroken)) throw error;
    const untold = `the keys of organisation ${orgId}, because the one of its audit trail does not open`;
    return { dataKeys: 0, sealKeys: 0, broken: [...broken, untold] };
  }
}

/** Data keys under the root key that wraps now, but for those that do not open. */
async function rewrap({ vault }: RotationParts, dataKeys: readonly DataKey[]) {
  const rewrapped: { dataKey: DataKey; under: Wrapped }[] = [];
  const broken: string[] = [];
  for (const dataKey of dataKeys) {
    try {
      rewrapped.push({ dataKey, under: await vault.rewrap(dataKey) });
    } catch (error) {
      if (!(error instanceof SealBroken)) throw error;
      broken.push(`data key ${dataKey.id} of organisation ${dataKey.orgId}, because it does not open`);
    }
  }
  return { rewrapped, broken };
}

/** Lets another data key take over, unless one has already; says how many have. */
async function replace(
  em: EntityManager,
  { id }: DataKey,
  successor: Awaited<ReturnType<Vault['makeDataKey']>>,
): Promise<number> {
  const replaced = await em.nativeUpdate(DataKey, { id, retiredAt: null }, { retiredAt: new Date() });
  if (replaced > 0) await em.insert(DataKey, successor);
  return replaced;
}

async function resealAll(parts: RotationParts, { tell }: Rotation): Promise<string[]> {
  const retired = await parts.database
    .forkAcross()
    .find(DataKey, { purpose: 'SEAL', retiredAt: { $ne: null } }, { orderBy: { id: 'asc' } });
  const broken: string[] = [];
  for (const { id, orgId } of retired) {
    const ids = await resealConnections(parts, id, tell);
    broken.push(
      ...ids.map((each) => `connection ${each} of organisation ${orgId}, because it does not open`),
    );
  }
  return broken;
}
