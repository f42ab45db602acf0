import type { EntityManager } from '@mikro-orm/postgresql';
import { currentRequest } from '../common/log.ts';
import { bulkInsert } from '../database/bulk-insert.ts';
import type { Database, SqlStatement } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { AuditEvent, AuditHead } from './audit-event.entity.ts';

/** What adding an event takes. */
export interface AuditDeps {
  database: Database;
  vault: Vault;
}

/** What is to be told of something that was done or refused. */
export interface AuditEventInput {
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
  /** How many attempts it tells of, where it is not one. */
  count?: number;
}

/** An event, and the request that it came with. */
export interface RecordedEvent extends AuditEventInput {
  address: string | null;
  requestId: string | null;
}

/** An event of the request that is being served. */
export function withRequestContext(event: AuditEventInput): RecordedEvent {
  const request = currentRequest.getStore();
  return { ...event, address: request?.address ?? null, requestId: request?.id ?? null };
}

/**
 * Adds an event to its organisation's chain, in the transaction of `em`. Call it last: until the transaction ends,
 * nobody else can add to the chain.
 */
export async function appendEvent(em: EntityManager, deps: AuditDeps, event: AuditEventInput): Promise<void> {
  await appendEvents(em, deps, event.orgId, [withRequestContext(event)]);
}

/** What is done by the statements that add events, as each statement is a way to PostgreSQL and back. */
export interface PiggybackedStatements {
  /** What the events tell of, to be done before the chain is locked. */
  change?: SqlStatement;
  /** What to look up after that. */
  query?: SqlStatement;
}

/**
 * Adds events of one organisation, as `appendEvent` adds one.
 *
 * @returns the rows that were looked up
 */
export async function appendEvents(
  em: EntityManager,
  { database, vault }: AuditDeps,
  orgId: string,
  events: readonly RecordedEvent[],
  { change, query }: PiggybackedStatements = {},
): Promise<object[]> {
  // Whoever changes something else has made the change before waiting for the chain, and so must this, or each could wait
  // for the other: the condition has the change done first.
  const [first, condition] = change
    ? [`with made as (${change.sql} returning 1)`, 'where (select count(*) from made) > 0']
    : ['', ''];
  // Locks the head and says where it is. If it is gone, what is put in its place has no MAC, and nothing is appended to it.
  const head = await em.execute<Pick<AuditHead, 'seq' | 'hash' | 'mac'>>(
    `${first} insert into audit_head (org_id, seq, hash, mac) select ?::uuid, 0, '', '' ${condition}
     on conflict (org_id) do update set seq = audit_head.seq returning seq, hash, mac`,
    [...(change?.params ?? []), orgId],
    'get',
  );
  const macs = await vault.rowMacs(em);
  macs.verify(em, AuditHead, { orgId, ...head });
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
      count: event.count ?? null,
      previousHash: hash,
    };
    hash = await computeEventHash(em, vault, complete);
    rows.push({ ...complete, hash });
  }
  const { mac } = macs.signed(em, AuditHead, { orgId, seq, hash });
  const move = {
    sql: 'update audit_head set seq = ?, hash = ?, mac = ? where org_id = ?',
    params: [seq, hash, mac, orgId],
  };
  return database.executeAndNotify(em, orgId, [bulkInsert(em, AuditEvent, rows), move], query);
}

/** The first fault of a trail. */
export interface BrokenChain {
  seq: number;
  /**
   * `added`: it is before the first. `head`: the row that says how long the trail is was changed or removed. `replaced` and
   * `cut`: by a checkpoint.
   */
  problem: 'added' | 'edited' | 'removed' | 'reordered' | 'head' | 'replaced' | 'cut';
}

/** What a trail is compared with while it is read. */
export interface VerifyOptions {
  /** Hashes of events that were seen earlier, by their `seq`. */
  checkpoints?: ReadonlyMap<number, string> | undefined;
  /** Is called with each event that is whole. */
  onEvent?: (event: AuditEvent) => void;
}

const batchSize = 1_000;

/** Reads an organisation's chain from its start, and says how long it is or what is wrong first. */
export async function verifyChain(
  fork: () => EntityManager,
  vault: Vault,
  orgId: string,
  { checkpoints = new Map(), onEvent }: VerifyOptions = {},
): Promise<{ events: number } | BrokenChain> {
  let previous = '';
  let expected = 1;
  for (let batch: AuditEvent[] = [], isLast = false; !isLast; isLast = batch.length < batchSize) {
    const em = fork();
    batch = await em.find(
      AuditEvent,
      // What somebody has put before the first event is shown too.
      expected === 1 ? { orgId } : { orgId, seq: { $gte: expected } },
      { orderBy: { seq: 'asc' }, limit: batchSize },
    );
    for (const event of batch) {
      if (event.seq < 1) return { seq: event.seq, problem: 'added' };
      if (event.seq !== expected) return { seq: expected, problem: 'removed' };
      if (event.hash !== (await computeEventHash(em, vault, event))) {
        return { seq: event.seq, problem: await describeTampering(em, vault, event) };
      }
      if (event.previousHash !== previous) return { seq: event.seq, problem: 'reordered' };
      const seen = checkpoints.get(event.seq);
      if (seen !== undefined && seen !== event.hash) return { seq: event.seq, problem: 'replaced' };
      onEvent?.(event);
      previous = event.hash;
      expected += 1;
    }
  }
  if (Math.max(0, ...checkpoints.keys()) >= expected) return { seq: expected, problem: 'cut' };
  const head = await readAuthenticHead(fork(), vault, orgId);
  if (!head) return { seq: expected - 1, problem: 'head' };
  if (head.seq >= expected) return { seq: expected, problem: 'removed' };
  if (head.hash !== previous) return { seq: expected - 1, problem: 'edited' };
  return { events: expected - 1 };
}

/** The end of an organisation's trail, or null when its row is not as a server wrote it; then the log says so. */
export async function readAuthenticHead(
  em: EntityManager,
  vault: Vault,
  orgId: string,
): Promise<AuditHead | null> {
  const head = await em.findOne(AuditHead, { orgId });
  const macs = await vault.rowMacs(em);
  return head && macs.isAuthentic(em, AuditHead, head) ? head : null;
}

/** An event that would be whole at another place was moved; any other was edited. */
async function describeTampering(
  em: EntityManager,
  vault: Vault,
  event: AuditEvent,
): Promise<BrokenChain['problem']> {
  const head = await readAuthenticHead(em, vault, event.orgId);
  for (let seq = 1; seq <= (head?.seq ?? event.seq); seq += 1) {
    if (event.hash === (await computeEventHash(em, vault, event, seq))) return 'reordered';
  }
  return 'edited';
}

/** What counts in the hash only where it is known, so that an event hashes as it did before there was such a thing. */
const optionalFields = [
  'keyId',
  'subject',
  'connectionId',
  'connectionName',
  'projectId',
  'apiKeyId',
  'targetName',
  'address',
  'requestId',
  'count',
] as const;

/** An event, but for its own hash. */
type HashedEvent = Pick<
  AuditEvent,
  'orgId' | 'seq' | 'at' | 'action' | 'outcome' | 'fields' | 'previousHash'
> &
  Partial<Pick<AuditEvent, (typeof optionalFields)[number]>>;

function computeEventHash(
  em: EntityManager,
  vault: Vault,
  event: HashedEvent,
  seq = event.seq,
): Promise<string> {
  const { orgId, at, action, outcome, fields, previousHash } = event;
  const known = optionalFields.flatMap((name) => (event[name] == null ? [] : [[name, event[name]]]));
  return vault.mac(em, orgId, 'AUDIT', {
    ...{ orgId, seq, at, action, outcome, fields, previousHash },
    ...Object.fromEntries(known),
  });
}
