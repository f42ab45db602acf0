import type { AppConnection, ConnectionKey } from '../app-connection.entity.ts';
import { findPendingKey } from '../credentials/key-states.ts';
import { isUntried } from '../credentials/keys.ts';

const dayMs = 86_400_000;
/** The shortest and the longest wait between two attempts to use a pending key, in milliseconds. */
const minWaitMs = 5 * 60_000;
const maxWaitMs = 6 * 3_600_000;

/** For how long servers can still use a key that another one has replaced, and more, in milliseconds. */
const useAfterRetirementMs = 60_000;

/** How many hexadecimal digits of the id of a connection spread the rotations: 28 bits. */
const spreadDigits = 7;

/**
 * The condition, in SQL, that the active key of a connection is so old that it is replaced. The parameters are the time now, and
 * the number of days, twice. The ids spread connections that were created together over the last tenth of the days.
 */
export const isOldSql = `exists (select from jsonb_array_elements(keys) as key where key ->> 'state' = 'ACTIVE'
  and (key ->> 'createdAt')::timestamptz <= ?::timestamptz
    - make_interval(secs => 86400 * ?::float8 * (1 - ('x' || left(id::text, ${spreadDigits}))::bit(28)::int / 2684354560.0))
    and ?::int > 0)`;

/** Whether the active key of a connection is so old that it is replaced, as `isOldSql`. */
export function isRotationDue(connection: AppConnection, days: number, now: Date): boolean {
  const { id, keys, verificationStatus } = connection;
  const active = keys?.find(({ state }) => state === 'ACTIVE');
  if (days === 0 || !active || isUntried(connection) || verificationStatus === 'REJECTED') return false;
  const spread = Number.parseInt(id.slice(0, spreadDigits), 16) / 16 ** spreadDigits;
  return now.getTime() - Date.parse(active.createdAt) >= days * dayMs * (1 - spread / 10);
}

/** Returns when the schedule tries a pending key again: after as long as it is pending, from 5 minutes to 6 hours. */
export function nextAttempt(pendingSince: Date, now: Date): Date {
  const waitMs = Math.min(Math.max(minWaitMs, now.getTime() - pendingSince.getTime()), maxWaitMs);
  return new Date(now.getTime() + waitMs);
}

/** Returns when a retired key can be removed at the app, because no server uses it any more. */
export function removalTime({ retiredAt }: Pick<ConnectionKey, 'retiredAt'>): Date {
  return new Date(Date.parse(retiredAt ?? '') + useAfterRetirementMs);
}

/** Whether a retired key can be removed now. A time that is later than any that is set comes from a server with a wrong clock. */
export function isRemovable(key: Pick<ConnectionKey, 'retiredAt'>, now: Date): boolean {
  const inMs = removalTime(key).getTime() - now.getTime();
  return inMs <= 0 || inMs > 2 * useAfterRetirementMs;
}

/** Returns a time after any at which the schedule looks at keys again: only a server with a wrong clock sets a later one. */
export function latestLook(now: Date): Date {
  return new Date(now.getTime() + 1.2 * maxWaitMs);
}

/**
 * Returns when the schedule looks at the keys of a connection after an attempt; null: when the active one is old enough.
 *
 * @param removeAt when retired keys can be removed at the app; null if there are none
 */
export function nextLook(connection: AppConnection, removeAt: Date | null, now: Date): Date | null {
  const pending = findPendingKey(connection);
  return pending ? nextAttempt(new Date(pending.createdAt), now) : removeAt;
}
