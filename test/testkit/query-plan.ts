import type { EntityManager } from '@mikro-orm/postgresql';

/** A node of a plan, as `explain (analyze, format json)` returns it. */
interface PlanNode {
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  Plans?: PlanNode[];
}

/** Executes a statement, and counts the rows that it reads from tables, with those that its filters remove. */
export async function countRowsRead(
  em: Pick<EntityManager, 'execute'>,
  sql: string,
  values: readonly unknown[] = [],
): Promise<number> {
  const [row] = await em.execute<{ 'QUERY PLAN': string | { Plan: PlanNode }[] }[]>(
    `explain (analyze, format json) ${sql}`,
    [...values],
  );
  const plans = row?.['QUERY PLAN'] ?? [];
  const [{ Plan: root }] = (typeof plans === 'string' ? JSON.parse(plans) : plans) as [{ Plan: PlanNode }];
  return countRows(root);
}

/** PostgreSQL reports the mean number of rows of all loops. */
function countRows(node: PlanNode): number {
  const own = node['Relation Name'] ? node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) : 0;
  return own * node['Actual Loops'] + (node.Plans ?? []).reduce((sum, child) => sum + countRows(child), 0);
}
