import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { sql } from '../../database/sql.ts';
import { CallerUsage } from './usage.entity.ts';

/** The most users of a connection that are listed. */
export const maxListedUsers = 100;

/** The description of `ConnectionUser.label` in both APIs. */
export const labelDescription =
  'What the program calls itself: the header `X-App-Connections-Consumer` of its requests, or the first product of `User-Agent`. ' +
  'At most 64 characters; `other` beyond 50 labels of a connection in a day; null if it says nothing.';

/** The description of the users of a connection in both APIs. */
export const usedByDescription =
  'Who uses the connection: the callers that the app has answered in the last 90 days, those that used it last first, at most 100.';

/** A caller that uses a connection, by the label of its requests. */
export interface ConnectionUser {
  /** `Caller.id`; empty for callers beyond those that are told apart. */
  caller: string;
  /** What the program calls itself; null if it says nothing. */
  label: string | null;
  calls: number;
  failedCalls: number;
  /** When the app last answered it. */
  lastUsedAt: Date;
}

type UserRow = Pick<CallerUsage, 'caller' | 'label'> &
  Pick<ConnectionUser, 'calls' | 'failedCalls'> & { lastUsedMs: number };

/** Earlier versions did not store the time. */
const lastUse = sql`max(coalesce(last_used_at, case when calls > failed_calls then hour end))`;

/**
 * Reads who used a connection: the callers that the app has answered in the last days, those that used it last first, at most
 * `maxListedUsers`. Check before whether the connection may be seen.
 */
export async function readUsers(
  database: Database,
  orgId: string,
  connectionId: string,
  days: number,
): Promise<ConnectionUser[]> {
  const since = new Date(currentTimeMs() - days * 86_400_000);
  const rows = await database.select<CallerUsage, UserRow>(
    CallerUsage,
    orgId,
    sql`where org_id = ${orgId} and connection_id = ${connectionId}
      and hour >= date_trunc('hour', ${since}::timestamptz, 'UTC') group by caller, label
      having ${lastUse} >= ${since}::timestamptz order by ${lastUse} desc, caller, label limit ${maxListedUsers}`,
    {
      properties: ['caller', 'label'],
      extra: sql`sum(calls)::float8 as calls, sum(failed_calls)::float8 as "failedCalls",
        extract(epoch from ${lastUse})::float8 * 1000 as "lastUsedMs"`,
    },
  );
  return rows.map(({ label, lastUsedMs, ...row }) => ({
    ...row,
    label: label || null,
    lastUsedAt: new Date(lastUsedMs),
  }));
}
