import type { EntityManager } from '@mikro-orm/postgresql';

/** A node of a plan, as `explain (analyze, buffers, format json)` returns it. */
interface PlanNode {
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
  Plans?: PlanNode[];
}

/** Executes a statement, and counts the rows that it reads from tables, with those that its filters remove. */
export async function countRowsRead(
  em: Pick<EntityManager, 'execute'>,
  sql: string,
  values: readonly unknown[] = [],
): Promise<number> {
  return countRows(await explain(em, sql, values));
}

/** Executes a statement, and counts the blocks of 8 kB that it reads from tables and indexes. */
export async function countBlocksRead(
  em: Pick<EntityManager, 'execute'>,
  sql: string,
  values: readonly unknown[] = [],
): Promise<number> {
  const root = await explain(em, sql, values);
  return root['Shared Hit Blocks'] + root['Shared Read Blocks'];
}

async function explain(
  em: Pick<EntityManager, 'execute'>,
  sql: string,
  values: readonly unknown[],
): Promise<PlanNode> {
  const [row] = await em.execute<{ 'QUERY PLAN': string | { Plan: PlanNode }[] }[]>(
    `explain (analyze, buffers, format json) ${sql}`,
    [...values],
  );
  const plans = row?.['QUERY PLAN'] ?? [];
  const [{ Plan: root }] = (typeof plans === 'string' ? JSON.parse(plans) : plans) as [{ Plan: PlanNode }];
  return root;
}

/**
 * Counts the rows that a statement reads with the plan that PostgreSQL makes without its values, which it may use for a statement that is
 * prepared.
 *
 * @param sql the statement with `?` for each value
 */
export async function countRowsReadByGenericPlan(
  em: EntityManager,
  sql: string,
  values: readonly unknown[] = [],
): Promise<number> {
  let count = 0;
  const numbered = sql.replaceAll('?', () => `$${++count}`);
  const list = values.map((value) => `'${value instanceof Date ? value.toISOString() : value}'`).join(', ');
  return em.transactional(async (tx) => {
    await tx.execute('set local plan_cache_mode = force_generic_plan');
    await tx.execute(`prepare generic as ${numbered}`);
    try {
      return await countRowsRead(tx, `execute generic${list && `(${list})`}`);
    } finally {
      await tx.execute('deallocate generic');
    }
  });
}

/** PostgreSQL reports the mean number of rows of all loops. */
function countRows(node: PlanNode): number {
  const own = node['Relation Name'] ? node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) : 0;
  return own * node['Actual Loops'] + (node.Plans ?? []).reduce((sum, child) => sum + countRows(child), 0);
}
