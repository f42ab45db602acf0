import type { storeWithEvents as original } from '../../../../src/audit/audited-change.ts';
import { insertRows } from '../../../../src/database/row-statements.ts';

export * from '../../../../src/audit/audited-change.ts';

/** Stores the change without events. Other servers are notified. */
export const storeWithEvents: typeof original = async ({ database, vault }, orgId, { prepare }) => {
  const em = database.forOrganisation(orgId);
  const { sql, params } = vault.sealKeyQuery(orgId);
  const sealKeyId = sealKeys.get(orgId) ?? (await em.execute<{ id: string }>(sql, [...params], 'get')).id;
  sealKeys.set(orgId, sealKeyId);
  const status = { disabledAt: null, deleteAt: null, deletionStartedAt: null };
  const trail = { seq: 0, hash: '', mac: '', ...status, sealKeyId };
  const { inserts = [], updates = [], result } = await prepare(em, trail);
  const statements = [...inserts.map(([entity, row]) => insertRows(em, entity, [row])), ...updates];
  const steps = statements.map(({ sql }, index) => `change_${index} as (${sql})`);
  await em.execute(
    `with ${steps.join(', ')} select 1`,
    statements.flatMap((each) => each.params),
  );
  database.announce(em, orgId);
  return result;
};

const sealKeys = new Map<string, string>();
