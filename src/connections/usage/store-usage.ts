import type { Database } from '../../database/database.ts';

interface Counts {
  orgId: string;
  connectionId: string;
  /** The beginning of the hour, in milliseconds since the epoch. */
  hour: number;
  calls: number;
  bytesUp: number;
  bytesDown: number;
}

/** Calls of a connection in an hour with the same outcome and class of status. */
export interface UsageRow extends Counts {
  outcome: string;
  statusClass: number;
  durations: number[] | null;
}

/** Calls of a caller through a connection in an hour with the same label. */
export interface CallerRow extends Counts {
  caller: string;
  label: string;
  failedCalls: number;
  /** When the app last answered one, in milliseconds since the epoch; null if it has answered none. */
  lastUsedAt: number | null;
}

/** The last call through a connection that the app answered. */
export interface LastUseRow {
  orgId: string;
  connectionId: string;
  /** In milliseconds since the epoch; null if the app has answered none. */
  at: number | null;
  caller: string | null;
}

/**
 * Adds all counts in one statement. Rows are locked in the same order by all servers. Connections that do not exist or that
 * belong to another organisation are left out.
 */
const statement = `
  with outcome_input as (
    select input.*, to_timestamp(hour / 1000.0) as start
    from json_to_recordset(?) as input ("orgId" uuid, "connectionId" uuid, hour bigint, outcome text, "statusClass" smallint,
      calls int, "bytesUp" bigint, "bytesDown" bigint, durations int[])
    join app_connection on id = "connectionId" and org_id = "orgId"
  ), caller_input as (
    select input.*, to_timestamp(hour / 1000.0) as start
    from json_to_recordset(?) as input ("orgId" uuid, "connectionId" uuid, hour bigint, caller text,
      label text, calls int, "failedCalls" int, "bytesUp" bigint, "bytesDown" bigint, "lastUsedAt" bigint)
    join app_connection on id = "connectionId" and org_id = "orgId"
  ), last_use_input as (
    select input.* from json_to_recordset(?) as input ("orgId" uuid, "connectionId" uuid, at bigint, caller text)
    join app_connection on id = "connectionId" and org_id = "orgId"
  ), callers as (
    insert into connection_usage_caller as stored
      (org_id, connection_id, hour, caller, label, calls, failed_calls, bytes_up, bytes_down, last_used_at)
    select "orgId", "connectionId", start, caller, label, calls, "failedCalls", "bytesUp", "bytesDown",
      to_timestamp("lastUsedAt" / 1000.0)
    from caller_input order by 1, 2, 3, 4, 5
    on conflict (org_id, connection_id, hour, caller, label) do update set
      calls = stored.calls + excluded.calls,
      failed_calls = stored.failed_calls + excluded.failed_calls,
      bytes_up = stored.bytes_up + excluded.bytes_up,
      bytes_down = stored.bytes_down + excluded.bytes_down,
      last_used_at = greatest(stored.last_used_at, excluded.last_used_at)
  ), last_uses as (
    insert into connection_last_use as stored (org_id, connection_id, at, caller)
    select "orgId", "connectionId", to_timestamp(at / 1000.0), caller from last_use_input order by 1, 2
    on conflict (org_id, connection_id) do update set at = excluded.at, caller = excluded.caller
      where coalesce(stored.at < excluded.at, stored.at is null)
  )
  insert into connection_usage as stored
    (org_id, connection_id, hour, outcome, status_class, calls, bytes_up, bytes_down, durations)
  select "orgId", "connectionId", start, outcome, "statusClass", calls, "bytesUp", "bytesDown", durations
  from outcome_input order by 1, 2, 3, 4, 5
  on conflict (org_id, connection_id, hour, outcome, status_class) do update set
    calls = stored.calls + excluded.calls,
    bytes_up = stored.bytes_up + excluded.bytes_up,
    bytes_down = stored.bytes_down + excluded.bytes_down,
    durations = case when excluded.durations is null then stored.durations else array(
      select coalesce(old, 0) + coalesce(new, 0)
      from unnest(stored.durations, excluded.durations) with ordinality as counts (old, new, bucket) order by bucket
    ) end`;

/** Adds the counts of this server to those of all servers. */
export async function storeUsage(
  database: Pick<Database, 'asSystem'>,
  rows: ReadonlyMap<string, UsageRow>,
  callers: ReadonlyMap<string, CallerRow>,
  lastUses: ReadonlyMap<string, LastUseRow>,
): Promise<void> {
  const params = [rows, callers, lastUses].map((each) => JSON.stringify([...each.values()]));
  await database.asSystem().execute(statement, params, 'run');
}
