import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { retentionMs } from './budget-store.ts';
import { defaultMaxShare } from './max-share.ts';

/**
 * The levels of a rate budget: what is left of it in its window. `unknown`: the app has not stated its limit. `open`: a tenth of what
 * the connection may spend, or more. `low`: less. `spent`: nothing. `blocked`: the app refuses requests.
 */
const budgetLevels = ['unknown', 'open', 'low', 'spent', 'blocked'] as const;

/** The number of rate budgets by what is left of them. */
export type BudgetCounts = Readonly<Record<(typeof budgetLevels)[number], number>>;

/** What the connection may spend, as `getAllowance` computes it. */
const allowance = `least(greatest(1, floor("limit" * share / 100)), "limit" - others)`;

/** Counts the rate budgets of all connections with a window or a refusal that is not over. The table has those of the last day. */
export async function countBudgets(database: Pick<Database, 'asSystem'>): Promise<BudgetCounts> {
  const now = currentTimeMs();
  const rows = await database.asSystem().execute<{ level: keyof BudgetCounts; count: number }[]>(
    `select case
        when blocked_until > ? then 'blocked'
        when "limit" is null then 'unknown'
        when spent >= ${allowance} then 'spent'
        when spent > ${allowance} * 0.9 then 'low'
        else 'open' end as level, count(*)::int as count
      from (select (state ->> 'blockedUntil')::float8 as blocked_until, (state ->> 'limit')::float8 as "limit",
          (state ->> 'spent')::float8 as spent, (state ->> 'others')::float8 as others,
          coalesce(max_share_of_rate_limit, ${defaultMaxShare}) as share
        from rate_budget left join app_connection on app_connection.id = connection_id where expire > ?) as budgets
      group by 1`,
    [now, now + retentionMs],
  );
  const none = { unknown: 0, open: 0, low: 0, spent: 0, blocked: 0 };
  return { ...none, ...Object.fromEntries(rows.map(({ level, count }) => [level, count])) };
}
