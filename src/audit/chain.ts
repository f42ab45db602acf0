import type { EntityManager } from '@mikro-orm/postgresql';
import type { Database, SqlStatement } from '../database/database.ts';
import { insertOf } from '../database/insert.ts';
import { currentRequest } from '../log.ts';
import type { Vault } from '../secrets/vault.ts';
import { AuditEvent, AuditHead } from './audit-event.entity.ts';

/** What adding an event takes. */
export interface AuditParts {
  database: Database;
  vault: Vault;
}

/** What is to be told of something that was done or refused. */
export interface NewEvent {
  orgId: string;
  action: AuditEvent['action'];
  /** The API key that was used, or null. */
  keyId: string | null;
  /** Who the identity provider says it was, or null. */
  subject: string | null;
  connectionId?: string | null;
  connectionName?: string | null;
  projectId?: string | null | undefined;
  /** The API key that this is about. */
  apiKeyId?: string | null;
  /** The name of the API key or the project that this is about. */
  targetName?: string | null;
  outcome: AuditEvent['outcome'];
  /** The names of the fields that changed. */
  fields?: string[];
}

/** An event, and the request that it came with. */
export interface ToldEvent extends NewEvent {
  address: string | null;
  requestId: string | null;
}

/** An event of the request that is being served. */
export function tell(event: NewEvent): ToldEvent {
  const request = currentRequest.getStore();
  return { ...event, address: request?.address ?? null, requestId: request?.id ?? null };
}

/**
 * Adds an event to its organisation's chain, in the transaction of `em`. Call it last: until the transaction ends,
 * nobody else can add to the chain.
 */
export async function appendEvent(em: EntityManager, parts: AuditParts, event: NewEvent): Promise<void> {
  await appendEvents(em, parts, event.orgId, [tell(event)]);
}

/** What is done by the statements that add events, as each statement is a way to PostgreSQL and back. */
export interface Alongside {
  /** What the events tell of, to be done before the chain is locked. */
  change?: SqlStatement;
  /** What to look up after that. */
  look?: SqlStatement;
}

/**
 * Adds events of one organisation, as `appendEvent` adds one.
 *
 * @returns the rows that were looked up
 */
export async function appendEvents(
  em: EntityManager,
  { database, vault }: AuditParts,
  orgId: string,
  events: readonly ToldEvent[],
  { change, look }: Alongside = {},
): Promise<object[]> {
  // Whoever changes something else has made the change before waiting for the chain, and so must this, or each could wait
  // for the other: the condition has the change done first.
  const [first, condition] = change
    ? [`with made as (${change.sql} returning 1)`, 'where (select count(*) from made) > 0']
    : ['', ''];
  // Makes the head if it is not there, and in any case locks it and says where it is.
  const head = await em.execute<{ seq: number; hash: string }>(
    `${first} insert into audit_head (org_id, seq, hash) select ?::uuid, 0, '' ${condition}
     on conflict (org_id) do update set seq = audit_head.seq returning seq, hash`,
    [...(change?.params ?? []), orgId],
    'get',
  );
  const rows = [];
  let { seq, hash } = head;
  for (const event of events) {
    seq += 1;
    const complete = {
      orgId,
      seq,
      at: new Date(),
      action: event.action,
      keyId: event.keyId,
      subject: event.subject,
      connectionId: event.connectionId ?? null,
      connectionName: event.connectionName ?? null,
      projectId: event.projectId ?? null,
      apiKeyId: event.apiKeyId ?? null,
      targetName: event.targetName ?? null,
      address: event.address,
      requestId: event.requestId,
      outcome: event.outcome,
      fields: event.fields ?? [],
      previousHash: hash,
    };
    hash = await hashOf(em, vault, complete);
    rows.push({ ...complete, hash });
  }
  const move = {
    sql: 'update audit_head set seq = ?, hash = ? where org_id = ?',
    params: [seq, hash, orgId],
  };
  return database.announce(em, orgId, [insertOf(em, AuditEvent, rows), move], look);
}

/** What is wrong with a chain, first of all. */
export interface BrokenChain {
  seq: number;
  problem: 'edited' | 'removed' | 'reordered';
}

const batchSize = 1_000;

/** Reads an organisation's chain from its start, and says how long it is or what is wrong first. */
export async function verifyChain(
  fork: () => EntityManager,
  vault: Vault,
  orgId: string,
): Promise<{ events: number } | BrokenChain> {
  let previous = '';
  let expected = 1;
  for (let batch: AuditEvent[] = [], isLast = false; !isLast; isLast = batch.length < batchSize) {
    const em = fork();
    batch = await em.find(
      AuditEvent,
      { orgId, seq: { $gte: expected } },
      { orderBy: { seq: 'asc' }, limit: batchSize },
    );
    for (const event of batch) {
      if (event.seq !== expected) return { seq: expected, problem: 'removed' };
      if (event.hash !== (await hashOf(em, vault, event))) {
        return { seq: event.seq, problem: await whatHappened(em, vault, event) };
      }
      if (event.previousHash !== previous) return { seq: event.seq, problem: 'reordered' };
      previous = event.hash;
      expected += 1;
    }
  }
  const head = await fork().findOne(AuditHead, { orgId });
  if ((head?.seq ?? 0) >= expected) return { seq: expected, problem: 'removed' };
  if ((head?.hash ?? '') !== previous) return { seq: expected - 1, problem: 'edited' };
  return { events: expected - 1 };
}

/** An event that would be whole at another place was moved; any other was edited. */
async function whatHappened(
  em: EntityManager,
  vault: Vault,
  event: AuditEvent,
): Promise<BrokenChain['problem']> {
  const head = await em.findOne(AuditHead, { orgId: event.orgId });
  for (let seq = 1; seq <= (head?.seq ?? 0); seq += 1) {
    if (event.hash === (await hashOf(em, vault, event, seq))) return 'reordered';
  }
  return 'edited';
}

/** What counts in the hash only where it is known, so that an event hashes as it did before there was such a thing. */
const ifKnown = [
  'keyId',
  'subject',
  'connectionId',
  'connectionName',
  'projectId',
  'apiKeyId',
  'targetName',
  'address',
  'requestId',
] as const;

/** An event, but for its own hash. */
type Told = Pick<AuditEvent, 'orgId' | 'seq' | 'at' | 'action' | 'outcome' | 'fields' | 'previousHash'> &
  Partial<Pick<AuditEvent, (typeof ifKnown)[number]>>;

function hashOf(em: EntityManager, vault: Vault, event: Told, seq = event.seq): Promise<string> {
  const { orgId, at, action, outcome, fields, previousHash } = event;
  const known = ifKnown.flatMap((name) => (event[name] == null ? [] : [[name, event[name]]]));
  return vault.mac(em, orgId, 'AUDIT', {
    ...{ orgId, seq, at, action, outcome, fields, previousHash },
    ...Object.fromEntries(known),
  });
}
