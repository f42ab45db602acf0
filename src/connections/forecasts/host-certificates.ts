import { currentTime } from '../../common/clock.ts';
import { originSql, urlFields } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';

/**
 * Stores the certificates that this server has seen, each once for an organisation and host, and only if it is another one than
 * before. The next round of warnings looks at those that were stored. A server that has seen it earlier than another one does not
 * bring back the one before.
 */
export async function storeCertificates({
  apps,
  database,
  outbound,
}: Pick<ConnectionDeps, 'apps' | 'database' | 'outbound'>): Promise<void> {
  const seen = outbound.listCertificates();
  if (seen.length === 0) return;
  // Requests without a connection, such as validations of credentials, may be to any host.
  await database.asSystem().execute(
    `insert into host_certificate (org_id, origin, valid_from, valid_to, seen_at, due_at)
      select "orgId", seen.origin, "validFrom", "validTo", "seenAt", ?::timestamptz
      from json_to_recordset(?) as seen ("orgId" uuid, origin text, "validFrom" timestamptz(3), "validTo" timestamptz(3),
        "seenAt" timestamptz(3))
      left join host_certificate as known on known.org_id = "orgId" and known.origin = seen.origin
      where case when known.org_id is null
        then exists (select from app_connection
          where org_id = "orgId" and deleted_at is null and ${originSql} = seen.origin)
        else known.valid_to <> "validTo" and known.seen_at < "seenAt" end
      on conflict (org_id, origin) do update
        set valid_from = excluded.valid_from, valid_to = excluded.valid_to, seen_at = excluded.seen_at, due_at = excluded.due_at
        where host_certificate.seen_at < excluded.seen_at`,
    [currentTime(), JSON.stringify(seen), urlFields(apps)],
  );
}
