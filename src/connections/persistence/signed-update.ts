import type { EntityManager } from '@mikro-orm/postgresql';
import { typedKeys } from '../../common/typed-keys.ts';
import type { SqlStatement } from '../../database/database.ts';
import { updateRow } from '../../database/row-statements.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { type StoredCredentials, sealUnderKey } from '../credentials/seal.ts';
import type { ConnectionDeps } from '../deps.ts';

/** A row to store in place of the one that was read. */
interface Replacement {
  /** The row as it was read and verified. */
  before: AppConnection;
  /** The row to store. Its MAC, and its encrypted credentials if their data key was retired, are set here. */
  after: AppConnection;
  /** The credentials of `after`; absent if they stay the same. */
  credentials?: StoredCredentials | undefined;
}

/**
 * Signs a changed connection and prepares the update of its changed columns, on condition that the row is still the one that was
 * read.
 *
 * @param sealKeyId the active data key of the organisation
 */
export async function signedUpdate(
  deps: ConnectionDeps,
  em: EntityManager,
  sealKeyId: string | null,
  { before, after, credentials }: Replacement,
): Promise<{ update: SqlStatement; readMac: string }> {
  if (credentials) Object.assign(after, await sealUnderKey(deps, em, sealKeyId, after, credentials));
  after.mac = (await deps.vault.rowMacs(em)).signed(em, AppConnection, after).mac;
  const columns = typedKeys(after);
  const changed = columns.filter((name) => after[name] !== before[name]);
  return { update: updateRow(em, AppConnection, after, changed), readMac: before.mac };
}
