import type { EntityManager } from '@mikro-orm/postgresql';
import { formatCount } from '../../common/format-count.ts';
import { createLog } from '../../common/log.ts';
import { DataKey, dataKeyPurposes, integrityOwner } from '../../encryption/data-key.entity.ts';
import { DecryptionError } from '../../encryption/jwe.ts';
import type { Keyring } from '../../encryption/keyring.ts';
import { KmsUnavailableError } from '../../encryption/root-key.ts';
import { Vault } from '../../encryption/vault.ts';
import { createFindings, type Finding } from './finding.ts';

const { ok, problem } = createFindings('keys');

const batchRows = 500;
/** The most findings of a kind: if the table is lost, every organisation would have one. */
const maxFindings = 100;

/** The data keys of one root key that do not open. */
interface RootKeyUse {
  opened: number;
  failed: DataKey[];
}

/**
 * Unwraps every stored data key, and checks the MAC of its row. A row whose MAC does not match is damaged, and is named with its
 * organisation. For other rows that do not open, the root key is wrong if it opens no data key; if it opens others, the row is
 * damaged.
 *
 * @param em sees the rows of all organisations
 * @param source the setting that has the root keys
 */
export async function checkKeys(em: EntityManager, keyring: Keyring, source: string): Promise<Finding[]> {
  const uses = new Map<string, RootKeyUse>();
  const damaged: DataKey[] = [];
  let total = 0;
  try {
    await keyring.selfTest();
    const vault = new Vault(keyring, createLog('silent'));
    for await (const dataKey of readDataKeys(em)) {
      total += 1;
      const use = uses.get(dataKey.rootKeyId) ?? { opened: 0, failed: [] };
      uses.set(dataKey.rootKeyId, use);
      const isOpen = await opens(keyring, dataKey);
      if (isOpen) use.opened += 1;
      if ((await vault.isAuthentic(em, dataKey)) === false) damaged.push(dataKey);
      else if (!isOpen) use.failed.push(dataKey);
    }
  } catch (error) {
    if (!(error instanceof KmsUnavailableError)) throw error;
    return [problem(error.reason, 'Check the access of this machine to the key service.')];
  }
  const findings: Finding[] = [];
  for (const [id, { opened, failed }] of uses) {
    if (failed.length === 0) continue;
    if (!keyring.has(id))
      findings.push(
        problem(
          `The root key "${id}", which wraps ${formatCount(failed.length, 'data key')}, is not in ${source}.`,
          `Add the root key "${id}" to ${source} again.`,
        ),
      );
    else if (opened === 0)
      findings.push(
        problem(
          `The root key "${id}" in ${source} does not open ${formatCount(failed.length, 'data key')} wrapped by a root key of that id.`,
          `Put the root key into ${source} that had the id "${id}" when the data keys were made; a backup may have it.`,
        ),
      );
    else damaged.push(...failed);
  }
  for (const dataKey of damaged.slice(0, maxFindings)) findings.push(await describeDamage(em, dataKey));
  findings.push(...(await findMissingKeys(em, damaged)));
  if (findings.length === 0) findings.push(ok(`All ${total} data keys open.`));
  return findings;
}

async function opens(keyring: Keyring, dataKey: DataKey): Promise<boolean> {
  try {
    await keyring.unwrap(dataKey);
    return true;
  } catch (error) {
    if (error instanceof DecryptionError) return false;
    throw error;
  }
}

async function describeDamage(em: EntityManager, { id, orgId, purpose }: DataKey): Promise<Finding> {
  const remedy = `Restore the row of data_key with id ${id} from a backup`;
  if (orgId === integrityOwner && purpose === 'INTEGRITY')
    return problem(`The integrity key ${id} is damaged: no row can be verified.`, `${remedy}.`);
  const [found] = await em.execute<[{ name: string | null; connections: number }]>(
    `select (select name from organisation where id = ?) as name,
      (select count(*)::int from app_connection where data_key_id = ?) as connections`,
    [orgId, id],
  );
  const loss = {
    SEAL: `without it, the credentials of ${formatCount(found.connections, 'connection')} are lost and have to be entered again`,
    FINGERPRINT: 'without it, no connection of the organisation can be changed',
    AUDIT: 'without it, the audit trail cannot be verified or extended, and nothing can be changed',
  }[purpose as string];
  return {
    ...problem(
      `The ${purpose} key ${id} of organisation ${orgId} ("${found.name ?? 'without a row'}") is damaged.`,
      loss ? `${remedy}; ${loss}.` : `${remedy}.`,
    ),
    orgId,
  };
}

/** Finds organisations that lack the active data key of a purpose, except those whose damaged row is named already. */
async function findMissingKeys(em: EntityManager, damaged: readonly DataKey[]): Promise<Finding[]> {
  const rows = await em.execute<{ orgId: string; name: string; purpose: string }[]>(
    `select organisation.id as "orgId", name, purpose
      from organisation cross join unnest(?::text[]) as purpose
      where not exists (select from data_key where data_key.org_id = organisation.id
        and data_key.purpose = purpose.purpose and retired_at is null)
      order by 1, 3 limit ${maxFindings}`,
    [`{${dataKeyPurposes.join(',')}}`],
  );
  const isNamed = ({ orgId, purpose }: { orgId: string; purpose: string }) =>
    damaged.some((dataKey) => dataKey.orgId === orgId && dataKey.purpose === purpose);
  return rows
    .filter((row) => !isNamed(row))
    .map(({ orgId, name, purpose }) => ({
      ...problem(
        `Organisation ${orgId} ("${name}") has no active ${purpose} key.`,
        'Restore its row of data_key from a backup.',
      ),
      orgId,
    }));
}

async function* readDataKeys(em: EntityManager): AsyncGenerator<DataKey> {
  let last = '00000000-0000-0000-0000-000000000000';
  for (;;) {
    // A destroyed key has no root key.
    const where = { id: { $gt: last }, rootKeyId: { $ne: '' } };
    const rows = await em.find(DataKey, where, { orderBy: { id: 'asc' }, limit: batchRows });
    yield* rows;
    em.clear();
    if (rows.length < batchRows) return;
    last = rows.at(-1)?.id ?? last;
  }
}
