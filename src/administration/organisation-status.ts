import { LockMode } from '@mikro-orm/core';
import type { EntityManager } from '@mikro-orm/postgresql';
import { type AuditAction, AuditHead } from '../audit/audit-event.entity.ts';
import { type AuditDeps, appendEvents, withRequestContext } from '../audit/hash-chain.ts';
import { type OrganisationStatus, organisationDisabled } from '../audit/trail-head.ts';
import { currentTime, currentTimeMs } from '../common/clock.ts';
import { StartupError } from '../common/errors.ts';
import type { Organisation } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { operatorActor } from './organisations.ts';

/** Who changes the status of an organisation, and why. */
export interface StatusRequest {
  /** The user and the machine of the command. */
  requestedBy: string;
  /** In the words of the operator; it is visible in the audit trail of the organisation. */
  reason?: string | undefined;
}

/** An event of a change of the status. */
interface StatusEvent {
  action: AuditAction;
  /** Of the trail of the organisation. */
  targetName: string | null;
}

type StatusTarget = Pick<Organisation, 'id' | 'name'>;

/**
 * Disables an organisation: from the commit of `em` on, no change of it is stored. An organisation that is disabled stays so, with the
 * first reason.
 *
 * @throws AppError `ORGANISATION_DISABLED` if its deletion has begun
 */
export async function disableOrganisation(
  em: EntityManager,
  deps: AuditDeps,
  target: StatusTarget,
  request: StatusRequest & { reason: string },
): Promise<OrganisationStatus> {
  const head = await lockHead(em, deps, target.id);
  if (head.disabledAt) return head;
  const events: StatusEvent[] = [{ action: 'DISABLE_ORGANISATION', targetName: request.reason }];
  return recordStatus(em, deps, target, request.requestedBy, events, {
    ...pickStatus(head),
    disabledAt: currentTime(),
  });
}

/**
 * Enables an organisation, and cancels its deletion if one is scheduled. The time in which it was disabled does not count as time in
 * which receivers of its webhooks have failed.
 *
 * @throws AppError `ORGANISATION_DISABLED` if its deletion has begun
 */
export async function enableOrganisation(
  em: EntityManager,
  deps: AuditDeps,
  target: StatusTarget,
  request: StatusRequest,
): Promise<OrganisationStatus> {
  // Before the head, as a change of an endpoint does.
  await em.execute('select from webhook_endpoint where org_id = ? order by id for update', [target.id]);
  const head = await lockHead(em, deps, target.id);
  if (!head.disabledAt) return head;
  await postponeFailures(em, target.id, currentTimeMs() - head.disabledAt.getTime());
  if (head.deleteAt) await em.nativeDelete(OrganisationDeletion, { id: target.id });
  const events: StatusEvent[] = [
    ...(head.deleteAt ? [{ action: 'CANCEL_ORGANISATION_DELETION', targetName: null } as const] : []),
    { action: 'ENABLE_ORGANISATION', targetName: null },
  ];
  const status = { ...pickStatus(head), disabledAt: null, deleteAt: null };
  return recordStatus(em, deps, target, request.requestedBy, events, status);
}

/** Moves the times from which receivers and messages of webhooks have failed: they are given up after some days. */
async function postponeFailures(em: EntityManager, orgId: string, ms: number): Promise<void> {
  const later = (column: string) => `${column} = ${column} + make_interval(secs => ?)`;
  const params = [Math.max(0, ms) / 1_000, orgId];
  await em.execute(
    `update webhook_endpoint set ${later('failing_since')} where org_id = ? and failing_since is not null`,
    params,
    'run',
  );
  await em.execute(
    `update webhook_message set ${later('failed_since')} where status = 'PENDING' and failed_since is not null
      and endpoint_id in (select id from webhook_endpoint where org_id = ?)`,
    params,
    'run',
  );
}

/**
 * Schedules the deletion of an organisation, or schedules it again, and disables the organisation.
 *
 * @throws AppError `ORGANISATION_DISABLED` if its deletion has begun
 */
export async function scheduleDeletion(
  em: EntityManager,
  deps: AuditDeps,
  target: StatusTarget,
  request: StatusRequest & { deleteAt: Date },
): Promise<OrganisationStatus> {
  const { requestedBy, reason, deleteAt } = request;
  const head = await lockHead(em, deps, target.id);
  const now = currentTime();
  await em.nativeDelete(OrganisationDeletion, { id: target.id });
  const { id, name } = target;
  const deletion = { id, name, reason: reason ?? null, requestedBy, requestedAt: now };
  const unstarted = { startedAt: null, completedAt: null, seq: null, hash: null };
  const macs = await deps.vault.rowMacs(em);
  await em.insert(OrganisationDeletion, macs.signed(em, OrganisationDeletion, { ...deletion, ...unstarted }));
  const scheduled = [deleteAt.toISOString(), reason].filter(Boolean).join(' ');
  const events: StatusEvent[] = [
    ...(head.disabledAt
      ? []
      : [{ action: 'DISABLE_ORGANISATION', targetName: reason ?? 'Its deletion is scheduled.' } as const]),
    { action: 'SCHEDULE_ORGANISATION_DELETION', targetName: scheduled },
  ];
  const status = { ...pickStatus(head), disabledAt: head.disabledAt ?? now, deleteAt };
  return recordStatus(em, deps, target, request.requestedBy, events, status);
}

/**
 * Cancels the deletion of an organisation, which stays disabled.
 *
 * @throws AppError `ORGANISATION_DISABLED` if its deletion has begun
 */
export async function cancelDeletion(
  em: EntityManager,
  deps: AuditDeps,
  target: StatusTarget,
  request: StatusRequest,
): Promise<OrganisationStatus> {
  const head = await lockHead(em, deps, target.id);
  if (!head.deleteAt) return head;
  await em.nativeDelete(OrganisationDeletion, { id: target.id });
  const events: StatusEvent[] = [{ action: 'CANCEL_ORGANISATION_DELETION', targetName: null }];
  return recordStatus(em, deps, target, request.requestedBy, events, { ...pickStatus(head), deleteAt: null });
}

/**
 * Appends events with a new status to the trail of an organisation, and then to that of the server, which outlives it.
 *
 * @returns the head of the trail of the organisation
 */
export async function recordStatus(
  em: EntityManager,
  deps: AuditDeps,
  { id: orgId, name }: StatusTarget,
  requestedBy: string,
  events: readonly StatusEvent[],
  status: OrganisationStatus,
) {
  const common = { ...operatorActor, outcome: 'OK', fields: ['status'] } as const;
  const toEvents = (owner: string, describe: (event: StatusEvent) => string | null) =>
    events.map((event) =>
      withRequestContext({
        ...common,
        ...{ orgId: owner, action: event.action, fields: [...common.fields], targetName: describe(event) },
      }),
    );
  const own = toEvents(orgId, ({ targetName }) => targetName);
  const head = await appendEvents(em, deps, orgId, own, status);
  // The name of the user is not for the organisation.
  const ofServer = toEvents(unattributedOrgId, ({ targetName }) =>
    [`${orgId} "${name}", by ${requestedBy}`, targetName].filter(Boolean).join(': '),
  );
  await appendEvents(em, deps, unattributedOrgId, ofServer);
  return head;
}

const unfinished = (orgId: string) =>
  `organisation ${orgId}: its import is not finished, or the end of its audit trail was removed; run the import again, or restore a backup`;

/**
 * Locks the head of the trail of an organisation.
 *
 * @throws StartupError if there is none
 * @throws AppError `ORGANISATION_DISABLED` if the deletion of the organisation has begun
 * @throws MacMismatch
 */
export async function lockHead(em: EntityManager, { vault }: AuditDeps, orgId: string): Promise<AuditHead> {
  const head = await em.findOne(AuditHead, { orgId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!head) throw new StartupError(unfinished(orgId));
  (await vault.rowMacs(em)).verify(em, AuditHead, head);
  if (head.deletionStartedAt) throw organisationDisabled(head);
  return head;
}

function pickStatus({ disabledAt, deleteAt, deletionStartedAt }: AuditHead): OrganisationStatus {
  return { disabledAt, deleteAt, deletionStartedAt };
}
