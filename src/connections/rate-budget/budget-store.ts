import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { deleteInBatches } from '../../database/delete-in-batches.ts';
import { type BudgetState, unknownBudget } from './budget-state.ts';
import { RateBudget } from './rate-budget.entity.ts';

/** The most attempts of a change. Each failed one means that another server has changed the row. */
const maxAttempts = 50;
/** How long a limit is remembered after its last window, in milliseconds. */
export const retentionMs = 86_400_000;

/** The bucket of a connection. */
export interface BudgetKey {
  orgId: string;
  connectionId: string;
  bucket: string;
}

/** The state of a budget, as it is stored. */
export interface StoredBudget {
  revision: number;
  state: BudgetState;
}

/** Stores a row if it has the expected revision, and reads it as it was before. */
const storeSql = `
  with stored as (
    insert into rate_budget as current (org_id, connection_id, bucket, revision, state, expire)
    values (?, ?, ?, ?, ?, ?)
    on conflict (org_id, connection_id, bucket) do update
      set revision = excluded.revision, state = excluded.state, expire = excluded.expire
      where current.revision = excluded.revision - 1
    returning revision
  )
  select exists (select from stored) as "isStored", revision::float8 as revision, state
  from (select) as one left join rate_budget on org_id = ? and connection_id = ? and bucket = ?`;

/**
 * Changes the budget that all servers share, in one statement as a rule. The change is computed here, from the revision that
 * this server knows, and stored if no other server has stored one since; otherwise it is computed again from that.
 *
 * @param known the last known revision
 * @param change computes the new state
 */
export async function changeBudget<Result>(
  database: Pick<Database, 'forOrganisation'>,
  key: BudgetKey,
  known: StoredBudget | undefined,
  change: (state: BudgetState) => { state: BudgetState; result: Result },
): Promise<{ stored: StoredBudget; result: Result }> {
  const em = database.forOrganisation(key.orgId);
  const id = [key.orgId, key.connectionId, key.bucket];
  let current = known ?? (await readBudget(database, key)) ?? { revision: 0, state: unknownBudget };
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const { state, result } = change(current.state);
    const stored = { revision: current.revision + 1, state };
    const expire = Math.max(state.windowEnd, state.blockedUntil) + retentionMs;
    const [answer] = await em.execute<({ isStored: boolean } & StoredBudget)[]>(storeSql, [
      ...id,
      stored.revision,
      JSON.stringify(state),
      expire,
      ...id,
    ]);
    if (answer?.isStored) return { stored, result };
    current = answer?.state ? { revision: answer.revision, state: answer.state } : current;
  }
  throw new Error('The rate budget of a connection was changed by other servers at each attempt.');
}

/**
 * Deletes the budgets of buckets that were not used for a day, in batches.
 *
 * @returns the number of deleted rows
 */
export async function purgeUnusedBudgets(
  { database }: { database: Pick<Database, 'asSystem'> },
  signal?: AbortSignal,
): Promise<number> {
  const unused = {
    ...{ table: 'rate_budget', condition: 'expire <= ?', orderBy: 'expire' },
    params: [currentTimeMs()],
  };
  return deleteInBatches(database, unused, signal);
}

/** Reads a budget. Undefined if nothing is known. */
export async function readBudget(
  database: Pick<Database, 'forOrganisation'>,
  { orgId, connectionId, bucket }: BudgetKey,
): Promise<StoredBudget | undefined> {
  const em = database.forOrganisation(orgId);
  const row = await em.findOne(RateBudget, { orgId, connectionId, bucket }, { disableIdentityMap: true });
  return row ? { revision: row.revision, state: row.state } : undefined;
}
