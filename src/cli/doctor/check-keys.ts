import type { EntityManager } from '@mikro-orm/postgresql';
import { DataKey, integrityOwner } from '../../encryption/data-key.entity.ts';
import { DecryptionError } from '../../encryption/jwe.ts';
import type { Keyring } from '../../encryption/keyring.ts';
import { KmsUnavailableError } from '../../encryption/root-key.ts';
import { Organisation } from '../../identity/organisation.entity.ts';
import { createFindings, type Finding } from './finding.ts';

const { ok, problem } = createFindings('keys');

const batchRows = 500;

/** The data keys of one root key. */
interface RootKeyUse {
  opened: number;
  /** Those that do not open. */
  failed: DataKey[];
}

/**
 * Unwraps every stored data key. If none of a root key opens, that root key is wrong; otherwise the rows that do not open are
 * damaged, and each is named with its organisation.
 *
 * @param em sees the rows of all organisations
 * @param source the setting that has the root keys
 */
export async function checkKeys(em: EntityManager, keyring: Keyring, source: string): Promise<Finding[]> {
  const uses = new Map<string, RootKeyUse>();
  try {
    await keyring.selfTest();
    for await (const dataKey of readDataKeys(em)) {
      const use = uses.get(dataKey.rootKeyId) ?? { opened: 0, failed: [] };
      uses.set(dataKey.rootKeyId, use);
      if (await opens(keyring, dataKey)) use.opened += 1;
      else use.failed.push(dataKey);
    }
  } catch (error) {
    if (!(error instanceof KmsUnavailableError)) throw error;
    return [problem(error.reason, 'Check the access of this machine to the key service.')];
  }
  const findings: Finding[] = [];
  const total = [...uses.values()].reduce((sum, { opened }) => sum + opened, 0);
  for (const [id, { opened, failed }] of uses) {
    if (failed.length === 0) continue;
    if (!keyring.has(id))
      findings.push(
        problem(
          `${failed.length} data keys are wrapped by the root key "${id}", which is not in ${source}.`,
          `Add the root key "${id}" to ${source} again.`,
        ),
      );
    else if (opened === 0)
      findings.push(
        problem(
          `The root key "${id}" in ${source} opens none of the ${failed.length} data keys that were wrapped by a root key of that id.`,
          `Put the root key into ${source} that had the id "${id}" when the data keys were made; a backup may have it.`,
        ),
      );
    else for (const dataKey of failed) findings.push(await describeDamage(em, dataKey));
  }
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
  if (orgId === integrityOwner)
    return problem(`The integrity key ${id} is damaged: no row can be verified.`, `${remedy}.`);
  const organisation = await em.findOne(Organisation, { id: orgId });
  const [found] = await em.execute<[{ count: number }]>(
    'select count(*)::int as "count" from "app_connection" where "data_key_id" = ?',
    [id],
  );
  const loss = {
    SEAL: `without it, the credentials of ${found.count} connections are lost and have to be entered again`,
    FINGERPRINT: 'without it, no connection of the organisation can be changed',
    AUDIT: 'without it, the audit trail cannot be verified or extended, and nothing can be changed',
  }[purpose as string];
  return {
    ...problem(
      `The ${purpose} key ${id} of organisation ${orgId} ("${organisation?.name ?? 'without a row'}") is damaged.`,
      `${remedy}; ${loss}.`,
    ),
    orgId,
  };
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
