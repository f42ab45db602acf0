import type { RowReader } from '../database/row-reader.ts';
import { joinAnd, raw, type Sql, sql } from '../database/sql.ts';
import type { Caller } from '../identity/caller.ts';
import { AuditEvent } from './audit-event.entity.ts';
import type { EventFilter } from './input.ts';

/** The most events that one call reads when no index has what it looks for. */
export const maxScanned = 10_000;

/** Events are added in the order of time, as far as the clocks of servers agree; they differ by less than this. */
const clockToleranceMs = 86_400_000;

/** What the largest number of an event stays below (int4). */
const noEnd = 2_147_483_647;

/** Which events of an organisation to read, by their numbers: from `from` on, and before `to`. */
export interface SeqRange {
  from: number;
  to: number;
}

/** An index of the trail, and the value that is looked up in it. */
export interface ScanIndex {
  column: Sql;
  value: Sql;
  /** The condition of a partial index. */
  condition?: Sql;
}

/** How to find the events of a filter: by one index, or by none, and then by looking at each event. */
export interface ScanPlan {
  index: ScanIndex | undefined;
  /** The conditions that no index answers. */
  conditions: Sql[];
}

/** Chooses the index that leaves the fewest events to look at. */
export function planScan({ projectIds }: Caller, filter: EventFilter): ScanPlan {
  const { connectionId, subject, keyId, outcome, action, from, to } = filter;
  const [onlyProject] = projectIds?.size === 1 ? projectIds : [];
  const projectId = filter.projectId ?? onlyProject;
  const candidates: ScanIndex[] = [];
  const add = (name: string, value: Sql, condition?: Sql) =>
    candidates.push({ column: raw(name), value, ...(condition && { condition }) });
  if (connectionId) add('connection_id', sql`${connectionId}::uuid`);
  if (subject) add('subject', sql`${subject}::text`, sql`subject is not null`);
  if (keyId) add('key_id', sql`${keyId}::uuid`);
  if (outcome && outcome !== 'OK') add('outcome', sql`${outcome}::text`, sql`outcome <> 'OK'`);
  if (action) add('action', sql`${action}::text`);
  if (projectId) add('project_id', sql`${projectId}::uuid`, sql`project_id is not null`);
  const [index, ...others] = candidates;
  const conditions = others.map(({ column, value }) => sql`${column} = ${value}`);
  if (outcome === 'OK') conditions.push(sql`outcome = 'OK'`);
  if (projectIds && !projectId) conditions.push(sql`project_id = any(${[...projectIds]}::uuid[])`);
  if (from) conditions.push(sql`at >= ${from}::timestamptz`);
  if (to) conditions.push(sql`at < ${to}::timestamptz`);
  return { index, conditions };
}

/**
 * The conditions of a range of an index. They compare whole rows, and no column with a constant, so that PostgreSQL reads
 * exactly this range of this index, whatever it thinks of how common a value is.
 */
export function rangeCondition(orgId: string, index: ScanIndex | undefined, { from, to }: SeqRange): Sql[] {
  const columns = index ? sql`(org_id, ${index.column}, seq)` : sql`(org_id, seq)`;
  const place = (seq: number) =>
    index ? sql`(${orgId}::uuid, ${index.value}, ${seq}::int)` : sql`(${orgId}::uuid, ${seq}::int)`;
  const range = [sql`${columns} >= ${place(from)}`, sql`${columns} < ${place(to)}`];
  return index?.condition ? [index.condition, ...range] : range;
}

/** The order of pages, as the index has it. */
export function newestFirst(index: ScanIndex | undefined): Sql {
  return index
    ? sql`order by org_id desc, ${index.column} desc, seq desc`
    : sql`order by org_id desc, seq desc`;
}

/** Where in the trail the events of a filter can be, by its times. */
export async function findRange(
  database: RowReader,
  orgId: string,
  { from, to }: Pick<EventFilter, 'from' | 'to'>,
): Promise<SeqRange> {
  const edge = async (condition: Sql, order: Sql) => {
    const [event] = await database.select(
      AuditEvent,
      orgId,
      sql`where org_id = ${orgId} and ${condition} ${order} limit 1`,
      { isScan: true, properties: seqOnly },
    );
    return event?.seq;
  };
  const before = from && new Date(from.getTime() - clockToleranceMs);
  const after = to && new Date(to.getTime() + clockToleranceMs);
  return {
    from: (before && (await edge(sql`at < ${before}`, sql`order by at desc, seq desc`))) ?? 0,
    to: (after && (await edge(sql`at >= ${after}`, sql`order by at, seq`))) ?? noEnd,
  };
}

const seqOnly = ['seq'] as const;

/**
 * Cuts a range so that it has at most `maxScanned` events of the index.
 *
 * @returns where it begins then, and whether something was cut off
 */
export async function boundScan(
  database: RowReader,
  orgId: string,
  index: ScanIndex | undefined,
  range: SeqRange,
): Promise<{ from: number; isCut: boolean }> {
  const [last] = await database.select(
    AuditEvent,
    orgId,
    sql`where ${joinAnd(rangeCondition(orgId, index, range))} ${newestFirst(index)} offset ${maxScanned - 1} limit 1`,
    { isScan: true, properties: seqOnly },
  );
  return last ? { from: last.seq, isCut: last.seq > range.from + 1 } : { from: range.from, isCut: false };
}
