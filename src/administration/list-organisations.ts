import type { EntityManager } from '@mikro-orm/postgresql';
import { currentTime } from '../common/clock.ts';
import { unattributedOrgId } from '../identity/organisations.ts';

/** An organisation with its sizes. */
export interface OrganisationSize {
  id: string;
  name: string;
  createdAt: Date;
  /** Without deleted ones. */
  connections: number;
  projects: number;
  /** API keys that are neither revoked nor expired. */
  apiKeys: number;
  /** Events of the audit trail. */
  events: number;
  /** The later of the last event and the last use of an API key; null if there was neither. */
  lastActivityAt: Date | null;
}

/**
 * Lists the organisations with their sizes, the oldest first.
 *
 * @param em sees the rows of all organisations
 */
export async function listOrganisations(em: EntityManager): Promise<OrganisationSize[]> {
  const rows = await em.execute<OrganisationSize[]>(
    `select id, name, created_at as "createdAt",
        (select count(*)::int from app_connection where org_id = organisation.id and deleted_at is null) as connections,
        (select count(*)::int from project where org_id = organisation.id) as projects,
        keys.active as "apiKeys", coalesce(head.seq, 0) as events,
        greatest(keys.used_at, (select at from audit_event
          where audit_event.org_id = organisation.id and audit_event.seq = head.seq)) as "lastActivityAt"
      from organisation
        left join audit_head as head on head.org_id = organisation.id
        cross join lateral (select max(last_used_at) as used_at,
            (count(*) filter (where revoked_at is null and (expires_at is null or expires_at > ?)))::int as active
          from api_key where org_id = organisation.id) as keys
      where id <> ? order by created_at, id`,
    [currentTime(), unattributedOrgId],
  );
  const toDate = (value: Date | string) => new Date(value);
  return rows.map((row) => ({
    ...row,
    createdAt: toDate(row.createdAt),
    lastActivityAt: row.lastActivityAt && toDate(row.lastActivityAt),
  }));
}
