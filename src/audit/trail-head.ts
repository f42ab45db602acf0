import type { EntityManager } from '@mikro-orm/postgresql';
import { AppError } from '../common/errors.ts';
import type { Database } from '../database/database.ts';
import { inSession, systemSession } from '../database/driver/session.ts';
import type { Vault } from '../encryption/vault.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { AuditHead } from './audit-event.entity.ts';

/** What an organisation may do, as the head of its audit trail says. */
export type OrganisationStatus = Pick<AuditHead, 'disabledAt' | 'deleteAt' | 'deletionStartedAt'>;

/** The end of a chain, and the status of its organisation. */
export type ChainHead = Pick<AuditHead, 'seq' | 'hash' | 'mac'> & OrganisationStatus;

/** The end of an audit trail, as this server knows it. */
export interface TrailState extends ChainHead {
  /**
   * The data key that encrypted credentials when the head was read. It still does when a change is stored after this head,
   * because replacing the key appends an event.
   */
  sealKeyId: string | null;
}

/** The columns of `OrganisationStatus` in SQL. */
export const statusColumns = `disabled_at as "disabledAt", delete_at as "deleteAt",
  deletion_started_at as "deletionStartedAt"`;

/** The columns of `ChainHead` in SQL. */
export const headColumns = `seq, hash, mac, ${statusColumns}`;

/** Converts a row with `headColumns`. */
export function toChainHead(row: ChainHead): ChainHead {
  const { seq, hash, mac } = row;
  return { seq, hash, mac, ...toStatus(row) };
}

/** Converts a row with `statusColumns`: times of raw SQL are texts. */
export function toStatus({ disabledAt, deleteAt, deletionStartedAt }: OrganisationStatus) {
  const toDate = (value: Date | string | null | undefined) => (value == null ? null : new Date(value));
  return {
    disabledAt: toDate(disabledAt),
    deleteAt: toDate(deleteAt),
    deletionStartedAt: toDate(deletionStartedAt),
  };
}

/**
 * Reads the end of a trail to append to it.
 *
 * @throws AppError `ORGANISATION_DISABLED` if the organisation was deleted
 * @throws MacMismatch if the row was changed or deleted outside this server
 */
export async function readTrail(em: EntityManager, vault: Vault, orgId: string): Promise<TrailState> {
  const { sql, params } = vault.sealKeyQuery(orgId);
  const [found] = await em.execute<TrailState[]>(
    `select ${headColumns}, (${sql}) as "sealKeyId" from audit_head where org_id = ?`,
    [...params, orgId],
  );
  if (!found) {
    const deletion = await inSession(systemSession, () =>
      em.fork().findOne(OrganisationDeletion, { id: orgId }),
    );
    if (deletion?.startedAt) throw organisationDisabled({ deletionStartedAt: deletion.startedAt });
  }
  const head = toChainHead(
    found ?? { seq: 0, hash: '', mac: '', disabledAt: null, deleteAt: null, deletionStartedAt: null },
  );
  (await vault.rowMacs(em)).verify(em, AuditHead, { orgId, ...head });
  return { ...head, sealKeyId: found?.sealKeyId ?? null };
}

/**
 * Reads the head of the audit trail of an organisation, with its status.
 *
 * @returns null if there is no such organisation
 * @throws MacMismatch if the row was changed outside this server
 */
export async function findHead(em: EntityManager, vault: Vault, orgId: string): Promise<AuditHead | null> {
  const head = await em.findOne(AuditHead, { orgId }, { refresh: true });
  if (head) (await vault.rowMacs(em)).verify(em, AuditHead, head);
  return head;
}

/**
 * Whether a server may work for an organisation on a schedule: it exists, and is not disabled.
 *
 * @throws MacMismatch if the status was changed outside this server
 */
export async function isOrganisationEnabled(
  { database, vault }: { database: Pick<Database, 'forOrganisation'>; vault: Vault },
  orgId: string,
): Promise<boolean> {
  const head = await findHead(database.forOrganisation(orgId), vault, orgId);
  return head !== null && !head.disabledAt;
}

/**
 * The condition, in SQL, that an organisation is there completely, and is not disabled. It selects work only: it checks no MAC, so
 * check `isOrganisationEnabled` before the work.
 *
 * @param column the column with the organisation
 */
export function isEnabledSql(column: string): string {
  return `${column} in (select head.org_id from audit_head as head where head.disabled_at is null)`;
}

/**
 * The condition, in SQL, that an organisation is there completely. An import stores the end of its trail last, and compares all rows
 * with the export before: what changes or deletes rows of organisations by itself must leave those of an unfinished import alone.
 *
 * @param column the column with the organisation
 */
export function hasTrailSql(column: string): string {
  return `${column} in (select head.org_id from audit_head as head)`;
}

/** The error for everything that a disabled organisation may not do. */
export function organisationDisabled({ deleteAt, deletionStartedAt }: Partial<OrganisationStatus>): AppError {
  if (deletionStartedAt)
    return new AppError('ORGANISATION_DISABLED', 'The organisation is being deleted.', {
      remedy: 'Ask the operator of this server. The data of the organisation cannot be restored.',
    });
  const until = deleteAt ? ` It will be deleted at ${deleteAt.toISOString()}.` : '';
  return new AppError('ORGANISATION_DISABLED', `The organisation is disabled.${until}`, {
    remedy:
      'Ask the operator of this server. Once the organisation is enabled, the same credential works again.',
  });
}
