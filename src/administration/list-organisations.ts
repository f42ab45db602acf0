import type { EntityManager } from '@mikro-orm/postgresql';
import { type OrganisationStatus, statusColumns, toStatus } from '../audit/trail-head.ts';
import { currentTime } from '../common/clock.ts';
import { unattributedOrgId } from '../identity/organisations.ts';

/** The states of an organisation. `DELETION_SCHEDULED`: it is disabled until then. */
export type OrganisationState = 'ENABLED' | 'DISABLED' | 'DELETION_SCHEDULED' | 'DELETING';

/** Returns the state of an organisation. */
export function toOrganisationState(status: OrganisationStatus): OrganisationState {
  if (status.deletionStartedAt) return 'DELETING';
  if (status.deleteAt) return 'DELETION_SCHEDULED';
  return status.disabledAt ? 'DISABLED' : 'ENABLED';
}

/**
 * Counts the organisations by state.
 *
 * @param em sees the rows of all organisations
 */
export async function countOrganisations(em: EntityManager): Promise<Record<OrganisationState, number>> {
  const [counts] = await em.execute<[Record<OrganisationState, number>]>(
    `select count(*)::int - count(head.org_id)::int as "ENABLED",
        (count(*) filter (where head.org_id is not null and delete_at is null))::int as "DISABLED",
        (count(*) filter (where delete_at is not null and deletion_started_at is null))::int as "DELETION_SCHEDULED",
        count(deletion_started_at)::int as "DELETING"
      from organisation left join audit_head as head on head.org_id = id and disabled_at is not null where id <> ?`,
    [unattributedOrgId],
  );
  return counts;
}

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
  status: OrganisationState;
  /** Null if it is enabled. */
  disabledAt: Date | null;
  /** The time from which it is deleted; null if its deletion is not scheduled. */
  deleteAt: Date | null;
  /** The later of the last event and the last use of an API key; null if there was neither. */
  lastActivityAt: Date | null;
}

/**
 * Lists the organisations with their sizes, the oldest first.
 *
 * @param em sees the rows of all organisations
 */
export async function listOrganisations(em: EntityManager): Promise<OrganisationSize[]> {
  const rows = await em.execute<(OrganisationSize & OrganisationStatus)[]>(
    `select id, name, created_at as "createdAt",
        (select count(*)::int from app_connection where org_id = organisation.id and deleted_at is null) as connections,
        (select count(*)::int from project where org_id = organisation.id) as projects,
        keys.active as "apiKeys", coalesce(head.seq, 0) - coalesce(deleted.seq, 0) as events, ${statusColumns},
        greatest(keys.used_at, (select at from audit_event
          where audit_event.org_id = organisation.id and audit_event.seq = head.seq)) as "lastActivityAt"
      from organisation
        left join audit_head as head on head.org_id = organisation.id
        left join audit_retention as deleted on deleted.org_id = organisation.id
        cross join lateral (select max(last_used_at) as used_at,
            (count(*) filter (where revoked_at is null and (expires_at is null or expires_at > ?)))::int as active
          from api_key where org_id = organisation.id) as keys
      where id <> ? order by created_at, id`,
    [currentTime(), unattributedOrgId],
  );
  const toDate = (value: Date | string) => new Date(value);
  return rows.map(({ createdAt, lastActivityAt, disabledAt, deleteAt, deletionStartedAt, ...row }) => {
    const status = toStatus({ disabledAt, deleteAt, deletionStartedAt });
    return {
      ...row,
      ...{ createdAt: toDate(createdAt), lastActivityAt: lastActivityAt && toDate(lastActivityAt) },
      ...{ status: toOrganisationState(status), disabledAt: status.disabledAt, deleteAt: status.deleteAt },
    };
  });
}
