import { type Sql, sql } from '../../database/sql.ts';
import { isCheckedSql } from '../check-interval.ts';
import { urlFields } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import { HostOutage } from '../host-outage.entity.ts';

/**
 * Returns the condition for connections of an organisation whose health an outage of the host decides, as in `loadHealth`; undefined
 * if there is no outage. These are read first, because PostgreSQL cannot estimate how many connections a subquery matches.
 */
export async function buildHostOutageCondition(
  { apps, database }: Pick<ConnectionDeps, 'apps' | 'database'>,
  orgId: string,
): Promise<Sql | undefined> {
  const outages = await database.select(HostOutage, orgId, sql`where org_id = ${orgId}`);
  if (outages.length === 0) return undefined;
  const origins = outages.map(({ origin }) => origin);
  const times = outages.map(({ checkedAt }) => checkedAt.toISOString());
  const origin = sql`coalesce(public_credentials ->> (${urlFields(apps)}::jsonb ->> (app || ' ' || method)), '')`;
  return sql`(${sql.raw(isCheckedSql)} and ${origin} = any(${origins}::text[]) and verification_checked_at <
    (${times}::timestamptz[])[array_position(${origins}::text[], ${origin})])`;
}
