import type { EntityManager } from '@mikro-orm/postgresql';
import { currentTime } from '../common/clock.ts';
import { currentRequest } from '../common/log.ts';
import type { Database } from '../database/database.ts';
import { insertRows } from '../database/row-statements.ts';
import type { Vault } from '../encryption/vault.ts';
import { AuditEvent, AuditHead } from './audit-event.entity.ts';
import { computeEventHash } from './event-hash.ts';
import {
  type ChainHead,
  headColumns,
  type OrganisationStatus,
  organisationDisabled,
  toChainHead,
} from './trail-head.ts';

/** The dependencies of the audit trail. */
export interface AuditDeps {
  database: Database;
  vault: Vault;
}

/** The input of `appendEvent`. */
export interface AuditEventInput {
  orgId: string;
  action: AuditEvent['action'];
  /** The API key of the request, or null. */
  keyId: string | null;
  /** The subject of the access token, or null. */
  subject: string | null;
  connectionId?: string | null;
  connectionName?: string | null;
  projectId?: string | null | undefined;
  /** The API key that the event is about. */
  apiKeyId?: string | null;
  /** The name of the API key or the project that the event is about. */
  targetName?: string | null;
  /** The setup link that the event is about, or that acted. */
  setupLinkId?: string | null | undefined;
  outcome: AuditEvent['outcome'];
  /** The names of the fields that changed. */
  fields?: string[];
  /** The number of attempts that the event stands for. Absent: one. */
  count?: number;
}

/** An event with the context of its request. */
export interface RecordedEvent extends AuditEventInput {
  address: string | null;
  requestId: string | null;
}

/** The actor of what the server does by itself, on a schedule. */
export const serverActor = {
  keyId: null,
  subject: null,
  address: null,
  requestId: null,
} as const satisfies Partial<RecordedEvent>;

/** Adds the context of the current request to an event. */
export function withRequestContext(event: AuditEventInput): RecordedEvent {
  const request = currentRequest.getStore();
  return { ...event, address: request?.address ?? null, requestId: request?.id ?? null };
}

/**
 * The longest pause of a transaction that has locked a chain, in milliseconds. If the server is frozen or its network is
 * lost, PostgreSQL then ends the transaction, well before the statements of other servers that wait for the lock time out.
 */
const maxPauseMs = 2_000;

/** A column that limits the pauses of a transaction from then on. */
export const limitPauses = `set_config('idle_in_transaction_session_timeout', '${maxPauseMs}', true)`;

/**
 * Appends an event to the chain of its organisation, in the transaction of `em`. Call it last: it locks the chain until the
 * transaction ends.
 */
export async function appendEvent(em: EntityManager, deps: AuditDeps, event: AuditEventInput): Promise<void> {
  await appendEvents(em, deps, event.orgId, [withRequestContext(event)]);
}

/**
 * Appends events of one organisation, as `appendEvent` does for one.
 *
 * @param status replaces the status of the organisation
 * @returns the head after the events
 * @throws AppError `ORGANISATION_DISABLED` if a caller of a disabled organisation has changed something, or the deletion of the
 *   organisation has begun
 */
export async function appendEvents(
  em: EntityManager,
  deps: AuditDeps,
  orgId: string,
  events: readonly RecordedEvent[],
  status?: OrganisationStatus,
): Promise<ChainHead> {
  const { database, vault } = deps;
  // Before the lock, because a KMS may have to decrypt the key.
  const macs = await vault.rowMacs(em);
  // If the row was deleted, the inserted one has no MAC, so the verification below fails.
  const found = await em.execute<ChainHead>(
    `insert into audit_head (org_id, seq, hash, mac) values (?::uuid, 0, '', '')
     on conflict (org_id) do update set seq = audit_head.seq returning ${headColumns}, ${limitPauses}`,
    [orgId],
    'get',
  );
  const locked = toChainHead(found);
  macs.verify(em, AuditHead, { orgId, ...locked });
  if (locked.deletionStartedAt || (locked.disabledAt && events.some(isChangeByCaller)))
    throw organisationDisabled(locked);
  const { rows, head } = await chainEvents(em, vault, { ...locked, ...status }, orgId, events);
  const insert = insertRows(em, AuditEvent, rows);
  await em.execute(
    `with event as (${insert.sql}) update audit_head set seq = ?, hash = ?, mac = ?,
      disabled_at = ?, delete_at = ?, deletion_started_at = ? where org_id = ?`,
    [
      ...insert.params,
      ...[head.seq, head.hash, head.mac],
      ...[head.disabledAt ?? null, head.deleteAt ?? null, head.deletionStartedAt ?? null],
      orgId,
    ],
    'run',
  );
  database.announce(em, orgId);
  return head;
}

/** Whether an event records a change by a caller, and not a refusal, or what the operator or the server did. */
function isChangeByCaller({ keyId, subject, outcome }: RecordedEvent): boolean {
  return outcome === 'OK' && (keyId !== null || subject !== null);
}

/** Computes the rows of events that follow a head, and the head after them. */
export async function chainEvents(
  em: EntityManager,
  vault: Vault,
  { seq, hash, disabledAt, deleteAt, deletionStartedAt }: ChainHead,
  orgId: string,
  events: readonly RecordedEvent[],
): Promise<{ rows: AuditEvent[]; head: ChainHead }> {
  const rows: AuditEvent[] = [];
  for (const input of events) {
    const event = {
      orgId,
      seq: seq + rows.length + 1,
      at: currentTime(),
      action: input.action,
      keyId: input.keyId,
      subject: input.subject,
      connectionId: input.connectionId ?? null,
      connectionName: input.connectionName ?? null,
      projectId: input.projectId ?? null,
      apiKeyId: input.apiKeyId ?? null,
      targetName: input.targetName ?? null,
      setupLinkId: input.setupLinkId ?? null,
      address: input.address,
      requestId: input.requestId,
      outcome: input.outcome,
      fields: input.fields ?? [],
      count: input.count ?? null,
      previousHash: rows.at(-1)?.hash ?? hash,
    };
    rows.push({ ...event, hash: await computeEventHash(em, vault, event) });
  }
  const status = { disabledAt, deleteAt, deletionStartedAt };
  const end = { orgId, seq: seq + rows.length, hash: rows.at(-1)?.hash ?? hash, ...status };
  return { rows, head: (await vault.rowMacs(em)).signed(em, AuditHead, end) };
}
