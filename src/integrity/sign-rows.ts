import type { EntityManager } from '@mikro-orm/postgresql';
import { ensureUnattributedOrg, operatorActor } from '../administration/organisations.ts';
import { AuditEvent, AuditHead } from '../audit/audit-event.entity.ts';
import { AuditRetention } from '../audit/audit-retention.entity.ts';
import { type AuditDeps, appendEvent } from '../audit/hash-chain.ts';
import { StartupError } from '../common/errors.ts';
import { withStartupLock } from '../database/startup-lock.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { rowMacsMarker } from '../encryption/keyring.ts';
import { type RowMacs, rowId } from '../encryption/row-macs.ts';
import type { Vault } from '../encryption/vault.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { authenticatedEntities, readBatches } from './authenticated-rows.ts';

/**
 * Unwraps the integrity key and subscribes the MACs to all writes. In an empty database it creates the key. In a database of
 * a version without MACs it signs the existing rows once; servers of that version can no longer write afterwards.
 *
 * @throws StartupError when the key or the MACs were removed
 * @throws DecryptionError when the key does not unwrap
 * @throws KmsUnavailableError
 */
export async function prepareRowMacs(deps: AuditDeps): Promise<void> {
  const { database, vault } = deps;
  await withStartupLock(database.asSystem(), async (em) => {
    const isEmpty = (await em.count(Organisation, {})) === 0;
    const unsigned = await tablesWithoutMacs(em);
    const isUpgrade = unsigned.length > 0;
    const found = await vault.findRowMacs(em);
    if (isUpgrade && (found || (await isSigned(em)) || (await hasMarkedDataKey(em)))) {
      throw new StartupError(
        `the database: the MACs of ${unsigned.join(', ')} were removed by another program; restore a backup`,
      );
    }
    if (!found && !isEmpty && !isUpgrade) {
      throw new StartupError('the database: the key that authenticates its rows is gone; restore a backup');
    }
    const macs = found ?? (await vault.addIntegrityKey(em));
    database.subscribe(macs);
    // A transaction keeps the subscribers that existed when it began.
    em.getEventManager().registerSubscriber(macs);
    if (isUpgrade) {
      await em.flush();
      await rewrapDataKeys(em, vault);
      await signRows(em, macs);
    }
    await ensureUnattributedOrg(em, vault);
    await em.flush();
    if (!(await isSigned(em))) {
      await appendEvent(em, deps, {
        ...operatorActor,
        orgId: unattributedOrgId,
        action: 'AUTHENTICATE_ROWS',
        outcome: 'OK',
      });
    }
    if (isUpgrade) {
      await em.execute('set local role none');
      for (const table of unsigned) await em.execute(`alter table "${table}" alter column mac set not null`);
    }
  });
}

/** Lists the tables whose `mac` column is nullable, so that rows may lack a MAC. */
async function tablesWithoutMacs(em: EntityManager): Promise<string[]> {
  // The schema may contain tables of other programs.
  const tables = authenticatedEntities.map((entity) => em.getMetadata(entity).tableName);
  const found: { name: string }[] = await em.execute(
    `select relname as name from pg_attribute join pg_class on pg_class.oid = attrelid
      where relnamespace = current_schema()::regnamespace and relname in (?) and attname = 'mac' and not attnotnull
      order by relname`,
    [tables],
  );
  return found.map(({ name }) => name);
}

/**
 * Whether rows were signed before, according to the system's audit trail, from which the event may have been deleted since. A row
 * without a MAC is then not an old one.
 */
async function isSigned(em: EntityManager): Promise<boolean> {
  const orgId = unattributedOrgId;
  const events = await em.count(AuditEvent, { orgId, action: 'AUTHENTICATE_ROWS' });
  return events > 0 || (await em.count(AuditRetention, { orgId })) > 0;
}

/**
 * Whether a data key was wrapped in a database whose rows carry MACs. A user with write access to the database can delete
 * the audit event of the signing, but cannot remove this marker, because the root key authenticates it.
 */
async function hasMarkedDataKey(em: EntityManager): Promise<boolean> {
  return (await em.count(DataKey, { wrapped: { $like: `${rowMacsMarker}%` } })) > 0;
}

/** Wraps every data key again, with the marker of databases whose rows carry MACs. */
async function rewrapDataKeys(em: EntityManager, vault: Vault): Promise<void> {
  const fork = () => em.fork({ keepTransactionContext: true });
  for await (const rows of readBatches(fork, DataKey, { mac: null })) {
    for (const row of rows) {
      if (!(row instanceof DataKey) || row.rootKeyId === '') continue;
      await em.nativeUpdate(DataKey, { id: row.id }, await vault.dataKeys.rewrap(row));
    }
  }
}

async function signRows(em: EntityManager, macs: RowMacs): Promise<void> {
  const fork = () => em.fork({ keepTransactionContext: true });
  for (const entity of authenticatedEntities) {
    const meta = em.getMetadata(entity);
    const keys = meta.primaryKeys.map((name) => ({
      name,
      column: `"${meta.properties[name].fieldNames[0]}"`,
      type: meta.properties[name].columnTypes[0],
    }));
    const recordColumns = keys.map(({ name, type }) => `"${name}" ${type}`);
    const isSame = keys.map(({ name, column }) => `"${meta.tableName}".${column} = record."${name}"`);
    const sql = `update "${meta.tableName}" set mac = record.mac
      from json_to_recordset(?) as record (${recordColumns.join(', ')}, mac text) where ${isSame.join(' and ')}`;
    for await (const rows of readBatches(fork, entity, { mac: null })) {
      // The system may not update tables that never had rows without a MAC.
      if (rows.length === 0) continue;
      const signed = rows.map((row) => ({ ...rowId(meta, row), mac: macs.signed(em, entity, row).mac }));
      await em.execute(sql, [JSON.stringify(signed)]);
    }
  }
  const headless: { id: string }[] = await em.execute(
    'select id from organisation where not exists (select from audit_head where org_id = organisation.id)',
  );
  for (const { id } of headless) em.create(AuditHead, { orgId: id, seq: 0, hash: '' });
  await em.flush();
}
