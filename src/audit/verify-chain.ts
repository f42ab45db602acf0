import type { EntityManager } from '@mikro-orm/postgresql';
import type { Vault } from '../encryption/vault.ts';
import { AuditEvent, AuditHead } from './audit-event.entity.ts';
import { AuditRetention } from './audit-retention.entity.ts';
import { computeEventHash } from './event-hash.ts';

/** The first defect of an audit trail. */
export interface BrokenChain {
  seq: number;
  /**
   * `added`: an event precedes the first one. `head`: the row of the head was changed or deleted. `replaced` and `cut`: the
   * trail does not match a checkpoint.
   */
  problem: 'added' | 'edited' | 'removed' | 'reordered' | 'head' | 'replaced' | 'cut';
}

/** The options of `verifyChain`. */
export interface VerifyOptions {
  /** Hashes of events in checkpoints, by `seq`. */
  checkpoints?: ReadonlyMap<number, string> | undefined;
  /** Called with each valid event. */
  onEvent?: (event: AuditEvent) => void;
}

/** The result for a trail without a defect. */
export interface IntactChain {
  events: number;
  /** Absent if no event was deleted. */
  deleted?: DeletedEvents;
}

/** The place of an event in a chain. */
export type ChainPosition = Pick<AuditEvent, 'seq' | 'hash'>;

/** The place before the first event. */
export const chainStart: ChainPosition = { seq: 0, hash: '' };

/** The oldest events of a trail, which the retention has deleted. */
export type DeletedEvents = Pick<AuditRetention, 'seq' | 'hash' | 'lastAt'>;

const verifyBatchRows = 1_000;

/** Verifies the chain of an organisation. Returns the number of its events, or the first defect. */
export async function verifyChain(
  fork: () => EntityManager,
  vault: Vault,
  orgId: string,
  { checkpoints = new Map(), onEvent }: VerifyOptions = {},
): Promise<IntactChain | BrokenChain> {
  let deleted = await findDeletedEvents(fork(), vault, orgId);
  let { seq: last, hash: previous } = deleted ?? chainStart;
  if (differs(checkpoints, last, previous)) return { seq: last, problem: 'replaced' };
  let events = 0;
  let isFirst = true;
  for (let batch: AuditEvent[] = [], isLast = false; !isLast; isLast = batch.length < verifyBatchRows) {
    const em = fork();
    batch = await em.find(
      AuditEvent,
      // The first batch has no lower bound, so that events before the first one are found.
      isFirst ? { orgId } : { orgId, seq: { $gt: last } },
      { orderBy: { seq: 'asc' }, limit: verifyBatchRows },
    );
    isFirst = false;
    for (const event of batch) {
      if (event.seq > last + 1) {
        // A server may have deleted old events meanwhile.
        const now = await findDeletedEvents(fork(), vault, orgId);
        if (!now || now.seq <= last) return { seq: last + 1, problem: 'removed' };
        deleted = now;
        ({ seq: last, hash: previous } = now);
      }
      if (event.seq <= last) return { seq: event.seq, problem: 'added' };
      if (!(await continuesChain(em, vault, event, { seq: last, hash: previous })))
        return { seq: event.seq, problem: await describeTampering(em, vault, event) };
      if (differs(checkpoints, event.seq, event.hash)) return { seq: event.seq, problem: 'replaced' };
      onEvent?.(event);
      ({ seq: last, hash: previous } = event);
      events += 1;
    }
  }
  if (Math.max(0, ...checkpoints.keys()) > last) return { seq: last + 1, problem: 'cut' };
  const head = await readAuthenticHead(fork(), vault, orgId);
  if (!head) return { seq: last, problem: 'head' };
  if (head.seq > last) return { seq: last + 1, problem: 'removed' };
  if (head.hash !== previous) return { seq: last, problem: 'edited' };
  return { events, ...(deleted && { deleted }) };
}

/** Whether an event is unchanged and follows `previous`. */
export async function continuesChain(
  em: EntityManager,
  vault: Vault,
  event: AuditEvent,
  previous: ChainPosition,
): Promise<boolean> {
  const isNext = event.seq === previous.seq + 1 && event.previousHash === previous.hash;
  return isNext && event.hash === (await computeEventHash(em, vault, event));
}

function differs(checkpoints: ReadonlyMap<number, string>, seq: number, hash: string): boolean {
  const expected = checkpoints.get(seq);
  return expected !== undefined && expected !== hash;
}

/** Reads which events the retention has deleted. A row whose MAC is invalid, which is logged, explains nothing. */
export async function findDeletedEvents(
  em: EntityManager,
  vault: Vault,
  orgId: string,
): Promise<DeletedEvents | undefined> {
  const found = await em.findOne(AuditRetention, { orgId });
  if (!found || !(await vault.rowMacs(em)).isAuthentic(em, AuditRetention, found)) return undefined;
  const { seq, hash, lastAt } = found;
  return { seq, hash, lastAt };
}

/** Reads the head of a chain. Returns null if the row is missing or its MAC is invalid, which is logged. */
async function readAuthenticHead(em: EntityManager, vault: Vault, orgId: string): Promise<AuditHead | null> {
  const head = await em.findOne(AuditHead, { orgId });
  const macs = await vault.rowMacs(em);
  return head && macs.isAuthentic(em, AuditHead, head) ? head : null;
}

/** Distinguishes a moved event, whose hash is valid at this or another sequence number, from an edited one. */
async function describeTampering(
  em: EntityManager,
  vault: Vault,
  event: AuditEvent,
): Promise<'edited' | 'reordered'> {
  const head = await readAuthenticHead(em, vault, event.orgId);
  for (let seq = 1; seq <= (head?.seq ?? event.seq); seq += 1) {
    if (event.hash === (await computeEventHash(em, vault, event, seq))) return 'reordered';
  }
  return 'edited';
}
