import type { Database } from '../../database/database.ts';
import { type Sql, sql } from '../../database/sql.ts';
import { estimateQuantile } from './durations.ts';
import { CallerUsage, ConnectionUsage } from './usage.entity.ts';
import { intervalStarts, type UsageRange } from './usage-range.ts';

/** The most callers that are listed. */
const maxListedCallers = 100;

/** Counts of calls. */
export interface UsageCounts {
  calls: number;
  bytesUp: number;
  bytesDown: number;
  /** Calls by outcome, most first. */
  outcomes: { outcome: string; calls: number }[];
  /** Calls by the first digit of the status; null: the app did not answer. */
  statusClasses: { statusClass: number | null; calls: number }[];
  /** Quantiles of the duration of calls that the app answered, in milliseconds; null without any. */
  p50Ms: number | null;
  p99Ms: number | null;
}

/** The calls through a connection in a range, in all and by interval. */
export interface ConnectionUsageCounts {
  total: UsageCounts;
  /** All intervals of the range, in their order. */
  buckets: { start: Date; counts: UsageCounts }[];
}

/** The calls of a caller through a connection in a range. */
export interface UsageOfCaller {
  /** `Caller.id`; empty for callers beyond those that are told apart. */
  caller: string;
  calls: number;
  failedCalls: number;
  bytesUp: number;
  bytesDown: number;
}

/** Parses `Caller.id`. */
export function parseCallerId(id: string): { keyId: string | null; subject: string | null } {
  const keyId = id.startsWith('key:') ? id.slice('key:'.length) : null;
  const subject = id.startsWith('subject:') ? id.slice('subject:'.length) : null;
  return { keyId, subject };
}

type OutcomeRow = Pick<ConnectionUsage, 'connectionId' | 'outcome' | 'statusClass'> &
  Pick<UsageCounts, 'calls' | 'bytesUp' | 'bytesDown'> & { start: number };
type DurationRow = Pick<ConnectionUsage, 'connectionId'> & { start: number; bucket: number; calls: number };

const ofConnection = ['connectionId'] as const;
const ofOutcome = ['connectionId', 'outcome', 'statusClass'] as const;
const ofCaller = ['caller'] as const;

/** Reads the usage of connections of an organisation. Check before whether the caller may see them. */
export async function readUsageCounts(
  database: Database,
  orgId: string,
  connectionIds: readonly string[],
  range: UsageRange,
): Promise<ConnectionUsageCounts[]> {
  const start = sql`(extract(epoch from date_trunc(${sql.lit(range.by.toLowerCase())}, hour, 'UTC')) * 1000)::float8`;
  const condition = inRange(orgId, connectionIds, range);
  const [outcomes, durations] = await Promise.all([
    database.select<ConnectionUsage, OutcomeRow>(
      ConnectionUsage,
      orgId,
      sql`where ${condition} group by connection_id, outcome, status_class, start`,
      {
        properties: ofOutcome,
        extra: sql`${start} as start, ${sum('calls')}, ${sum('bytes_up', 'bytesUp')}, ${sum('bytes_down', 'bytesDown')}`,
      },
    ),
    database.select<ConnectionUsage, DurationRow>(
      ConnectionUsage,
      orgId,
      // With `offset 0`, the beginning is computed once for each row and not for each bucket, which takes several times as long.
      sql`cross join lateral (select ${start} as start offset 0) as of_row
        cross join unnest(durations) with ordinality as counts (count, ordinal)
        where ${condition} and count > 0 group by connection_id, start, ordinal`,
      {
        properties: ofConnection,
        extra: sql`start, (ordinal - 1)::int as bucket, sum(count)::float8 as calls`,
      },
    ),
  ]);
  const outcomesOf = Map.groupBy(outcomes, ({ connectionId }) => connectionId);
  const durationsOf = Map.groupBy(durations, ({ connectionId }) => connectionId);
  return connectionIds.map((id) => {
    const [rows, counts] = [outcomesOf.get(id) ?? [], durationsOf.get(id) ?? []];
    const rowsAt = Map.groupBy(rows, (row) => row.start);
    const countsAt = Map.groupBy(counts, (row) => row.start);
    return {
      total: toCounts(rows, counts),
      buckets: intervalStarts(range).map((time) => ({
        start: new Date(time),
        counts: toCounts(rowsAt.get(time) ?? [], countsAt.get(time) ?? []),
      })),
    };
  });
}

/** Reads which callers used a connection, those with most calls first, and then all others together. */
export async function readUsageByCaller(
  database: Database,
  orgId: string,
  connectionId: string,
  range: UsageRange,
): Promise<UsageOfCaller[]> {
  const total = (column: string, name: string) =>
    sql`sum(sum(${sql.ref(column)})) over ()::float8 as ${sql.ref(name)}`;
  const rows = await database.select<CallerUsage, UsageOfCaller & Totals>(
    CallerUsage,
    orgId,
    sql`where ${inRange(orgId, [connectionId], range)} group by caller
      order by caller = '', sum(calls) desc, caller limit ${maxListedCallers}`,
    {
      properties: ofCaller,
      extra: sql`${sum('calls')}, ${sum('failed_calls', 'failedCalls')}, ${sum('bytes_up', 'bytesUp')},
        ${sum('bytes_down', 'bytesDown')}, ${total('calls', 'allCalls')}, ${total('failed_calls', 'allFailedCalls')},
        ${total('bytes_up', 'allBytesUp')}, ${total('bytes_down', 'allBytesDown')}`,
    },
  );
  const [first] = rows;
  if (!first) return [];
  const listed = rows
    .filter(({ caller }) => caller !== '')
    .map(({ caller, calls, failedCalls, bytesUp, bytesDown }) => ({
      ...{ caller, calls, failedCalls, bytesUp, bytesDown },
    }));
  const rest = (all: number, name: 'calls' | 'failedCalls' | 'bytesUp' | 'bytesDown') =>
    all - listed.reduce((known, row) => known + row[name], 0);
  const others = {
    caller: '',
    calls: rest(first.allCalls, 'calls'),
    failedCalls: rest(first.allFailedCalls, 'failedCalls'),
    bytesUp: rest(first.allBytesUp, 'bytesUp'),
    bytesDown: rest(first.allBytesDown, 'bytesDown'),
  };
  return others.calls > 0 ? [...listed, others] : listed;
}

/** The sums over all callers. */
interface Totals {
  allCalls: number;
  allFailedCalls: number;
  allBytesUp: number;
  allBytesDown: number;
}

/** The order of items with the most calls first, and of others by name. */
function mostCalls<Item extends { calls: number }>(nameOf: (item: Item) => string) {
  return (one: Item, other: Item) => other.calls - one.calls || (nameOf(one) < nameOf(other) ? -1 : 1);
}

function inRange(orgId: string, connectionIds: readonly string[], { from, to }: UsageRange): Sql {
  return sql`org_id = ${orgId} and connection_id = any(${connectionIds}::uuid[])
    and hour >= ${from}::timestamptz and hour < ${to}::timestamptz`;
}

function sum(column: string, name = column): Sql {
  return sql`sum(${sql.ref(column)})::float8 as ${sql.ref(name)}`;
}

function toCounts(rows: readonly OutcomeRow[], durations: readonly DurationRow[]): UsageCounts {
  const add = (name: 'calls' | 'bytesUp' | 'bytesDown', of = rows) =>
    of.reduce((total, row) => total + row[name], 0);
  const outcomes = [...Map.groupBy(rows, ({ outcome }) => outcome)]
    .map(([outcome, of]) => ({ outcome, calls: add('calls', of) }))
    .sort(mostCalls(({ outcome }) => outcome));
  const statusClasses = [...Map.groupBy(rows, (row) => row.statusClass)]
    .sort(([one], [other]) => one - other)
    .map(([digit, of]) => ({ statusClass: digit || null, calls: add('calls', of) }));
  const counts: number[] = [];
  for (const { bucket, calls } of durations) counts[bucket] = (counts[bucket] ?? 0) + calls;
  const histogram = Array.from(counts, (count = 0) => count);
  return {
    ...{ calls: add('calls'), bytesUp: add('bytesUp'), bytesDown: add('bytesDown'), outcomes, statusClasses },
    p50Ms: estimateQuantile(histogram, 0.5),
    p99Ms: estimateQuantile(histogram, 0.99),
  };
}
