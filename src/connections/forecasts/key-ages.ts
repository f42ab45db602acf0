import { isEnabledSql } from '../../audit/trail-head.ts';
import { currentTime } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import { rejectionCodes } from '../check-interval.ts';
import { firstWarningDays } from '../credentials/expiry.ts';

/** The age at which a key is due for a rotation by hand if the schedule does not rotate it, in days. */
const maxAgeDays = 90;
/** The most keys in one statement; the next round goes on. */
const batchSize = 1_000;
/** How long a new key may wait for the app before its old one counts as stuck, in hours. */
const maxPendingHours = 24;

/** Whether the app has rejected the credentials. Their end has come, so their age needs no warning. */
const isRejectedSql = `(verification_status = 'REJECTED' and verification_code in ('${rejectionCodes.join("', '")}'))`;

/**
 * Stores when the keys of this server are due for rotation, if nothing rotates them: because the
 * schedule of rotations is off, or because the app does not accept the next key.
 *
 * @param days the age at which the schedule replaces a key; 0 for never
 */
export async function forecastKeyAges({ database }: { database: Database }, days: number): Promise<void> {
  await database.asSystem().execute(
    `update app_connection set expires_at = aged.at, expiry_reason = case when aged.at is not null then 'KEY_AGE' end,
        expiry_warning_at = aged.at - make_interval(hours => 24 * ${firstWarningDays})
      from (select aged_id, at from (select id as aged_id, expires_at as known, (
          select min((key ->> 'createdAt')::timestamptz) + make_interval(hours => 24 * ?::int)
          from jsonb_array_elements(keys) as key
          where key ->> 'state' = 'ACTIVE' and not ${isRejectedSql}
            and (?::int = 0 or exists (select from jsonb_array_elements(keys) as next
              where next ->> 'state' = 'PENDING' and (next ->> 'createdAt')::timestamptz
                < ?::timestamptz - make_interval(hours => ${maxPendingHours})))) as at
        from app_connection where is_platform_managed_credentials and deleted_at is null
          and last_verified_at is not null and ${isEnabledSql('app_connection.org_id')}) as each where known is distinct from at limit ${batchSize}) as aged
      where id = aged_id`,
    [days || maxAgeDays, days, currentTime()],
  );
}
