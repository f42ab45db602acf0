import { maxDateTime, minDateTime } from '../common/date-time.ts';
import type { RowReader } from '../database/row-reader.ts';
import { joinAnd, type Sql, sql } from '../database/sql.ts';
import type { Caller } from '../identity/caller.ts';
import { AuditEvent } from './audit-event.entity.ts';
import type { EventFilter } from './input.ts';

/** The maximum number of events that a request examines if no index covers the filter. */
const maxScanned = 10_000;

/** Events are in the order of time, except for clock skew between servers. It must be less than this. */
const clockToleranceMs = 86_400_000;

/** The upper bound of sequence numbers (int4). */
const maxSeq = 2_147_483_647;

/** A range of sequence numbers: `from` is inclusive, `to` is exclusive. */
export interface SeqRange {
  from: number;
  to: number;
}

/** An index of the table, and the value to look up. */
export interface ScanIndex {
  column: Sql;
  value: Sql;
  /** The predicate of a partial index. */
  condition?: Sql;
}

/** How to find the events of a filter. */
export interface ScanPlan {
  /** Undefined: the primary key. */
  index: ScanIndex | undefined;
  /** The conditions that the index does not cover. */
  conditions: Sql[];
}

/** Chooses the index of the most selective condition. */
export function planScan({ projectIds, connectionIds }: Caller, filter: EventFilter): ScanPlan {
  const { subject, keyId, outcome, writesOnly, from, to } = filter;
  const action = filter.action ?? (writesOnly ? 'USE_CONNECTION' : undefined);
  const [onlyConnection] = connectionIds?.size === 1 ? connectionIds : [];
  const connectionId = filter.connectionId ?? onlyConnection;
  const [onlyProject] = projectIds?.size === 1 ? projectIds : [];
  const projectId = filter.projectId ?? onlyProject;
  const candidates: ScanIndex[] = [];
  const add = (name: string, value: Sql, condition?: Sql) =>
    candidates.push({ column: sql.raw(name), value, ...(condition && { condition }) });
  if (connectionId) add('connection_id', sql`${connectionId}::uuid`);
  if (subject != null) add('subject', sql`${subject}::text`, sql`subject is not null`);
  if (keyId) add('key_id', sql`${keyId}::uuid`);
  if (outcome != null && outcome !== 'OK') add('outcome', sql`${outcome}::text`, sql`outcome <> 'OK'`);
  if (action) add('action', sql`${action}::text`);
  if (projectId) add('project_id', sql`${projectId}::uuid`, sql`project_id is not null`);
  const [index, ...others] = candidates;
  const conditions = others.map(({ column, value }) => sql`${column} = ${value}`);
  if (outcome === 'OK') conditions.push(sql`outcome = 'OK'`);
  if (projectIds && !projectId) conditions.push(sql`project_id = any(${[...projectIds]}::uuid[])`);
  const isOfOnlyConnection = onlyConnection !== undefined && connectionId === onlyConnection;
  if (connectionIds && !isOfOnlyConnection)
    conditions.push(sql`connection_id = any(${[...connectionIds]}::uuid[])`);
  if (writesOnly) conditions.push(sql`action = 'USE_CONNECTION' and target_name is not null`);
  if (from) conditions.push(sql`at >= ${from}::timestamptz`);
  if (to) conditions.push(sql`at < ${to}::timestamptz`);
  return { index, conditions };
}

/**
 * Returns the conditions for a range of an index. They are row comparisons, so that PostgreSQL scans this range of this
 * index, whatever its statistics say about the value.
 */
export function rangeCondition(orgId: string, index: ScanIndex | undefined, { from, to }: SeqRange): Sql[] {
  const columns = index ? sql`(org_id, ${index.column}, seq)` : sql`(org_id, seq)`;
  const position = (seq: number) =>
    index ? sql`(${orgId}::uuid, ${index.value}, ${seq}::int)` : sql`(${orgId}::uuid, ${seq}::int)`;
  const range = [sql`${columns} >= ${position(from)}`, sql`${columns} < ${position(to)}`];
  return index?.condition ? [index.condition, ...range] : range;
}

/** Returns the ORDER BY clause that matches the index, newest events first. */
export function newestFirst(index: ScanIndex | undefined): Sql {
  return index
    ? sql`order by org_id desc, ${index.column} desc, seq desc`
    : sql`order by org_id desc, seq desc`;
}

/** Finds the range of sequence numbers that a range of time covers, with a tolerance for clock skew. */
export async function findRange(
  database: RowReader,
  orgId: string,
  { from, to }: Pick<EventFilter, 'from' | 'to'>,
): Promise<SeqRange> {
  const findSeq = async (condition: Sql, order: Sql) => {
    const [event] = await database.select(
      AuditEvent,
      orgId,
      sql`where org_id = ${orgId} and ${condition} ${order} limit 1`,
      { isScan: true, properties: seqOnly },
    );
    return event?.seq;
  };
  // PostgreSQL does not accept a year before 1 or after 9999 in the driver's notation.
  const before = from && new Date(Math.max(from.getTime() - clockToleranceMs, minDateTime.getTime()));
  const after = to && new Date(Math.min(to.getTime() + clockToleranceMs, maxDateTime.getTime()));
  return {
    from: (before && (await findSeq(sql`at < ${before}`, sql`order by at desc, seq desc`))) ?? 0,
    to: (after && (await findSeq(sql`at >= ${after}`, sql`order by at, seq`))) ?? maxSeq,
  };
}

const seqOnly = ['seq'] as const;

/**
 * Limits a range to the newest `maxScanned` events of the index.
 *
 * @returns the start of the limited range, and whether it is shorter than the given one
 */
export async function boundScan(
  database: RowReader,
  orgId: string,
  index: ScanIndex | undefined,
  range: SeqRange,
): Promise<{ from: number; isTruncated: boolean }> {
  const [oldest] = await database.select(
    AuditEvent,
    orgId,
    sql`where ${joinAnd(rangeCondition(orgId, index, range))} ${newestFirst(index)} offset ${maxScanned - 1} limit 1`,
    { isScan: true, properties: seqOnly },
  );
  return oldest
    ? { from: oldest.seq, isTruncated: oldest.seq > range.from + 1 }
    : { from: range.from, isTruncated: false };
}
