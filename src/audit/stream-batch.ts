import { performance } from 'node:perf_hooks';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { AuditEvent } from './audit-event.entity.ts';
import type { AuditDeps } from './hash-chain.ts';
import { buildTakenCondition } from './stream-lease.ts';
import { type DeliveredEvents, isDueSql, type PositionRow, toDeliveredPosition } from './stream-position.ts';
import { continuesChain, findDeletedEvents } from './verify-chain.ts';

/** The dependencies of the stream. */
export type StreamDeps = AuditDeps & { log: Logger };

/** The organisations whose events are delivered. */
export type Scope = readonly string[] | 'all';

/** The next events of a trail, which are valid. */
export interface TrailPart extends DeliveredEvents {
  /** The numbers of the events that should precede them, if those were deleted before they were delivered. */
  missing: { from: number; to: number } | undefined;
}

/** A trail with events that were not delivered: its stored position, if there is one. */
type DueTrail = PositionRow | { orgId: string; seq: null; hash: null; mac: null };

/** The most events of a trail in a batch: a long trail does not hold up the others. */
const maxOfTrail = 200;
/** How long trails are read for a batch, in milliseconds: it has to be delivered before the lease ends, also if the database is slow. */
const maxReadMs = 5_000;
const maxTrails = 100;
/** How long a trail that cannot be read is left alone, in milliseconds. */
const retryMs = 60_000;

const dueTrails = `audit_head as head left join audit_stream_position as position on position.org_id = head.org_id where ${isDueSql}`;

/**
 * Reads the events that were not delivered, and verifies them. A trail is read up to its first event that was changed, removed or moved,
 * which is logged; the rest waits until the trail is intact again.
 */
export class StreamReader {
  readonly #deps: StreamDeps;
  /** When trails that cannot be read are tried again, by organisation. */
  readonly #blocked = new Map<string, number>();
  #scope: Scope = 'all';
  /** Trails take turns, in the order of their organisations. */
  #after: string = unattributedOrgId;

  constructor(deps: StreamDeps) {
    this.#deps = deps;
  }

  /**
   * Looks for events to deliver, from now on among these organisations. `taken`: another server delivers, or the stream pauses after a
   * failure.
   */
  async findDue(scope: Scope, leaseId: string): Promise<'due' | 'none' | 'taken'> {
    this.#scope = scope;
    if (scope.length === 0) return 'none';
    const taken = buildTakenCondition(leaseId);
    const { condition, params } = this.#restrict();
    const [{ due }] = await this.#deps.database.asSystem().execute<[{ due: 'due' | 'none' | 'taken' }]>(
      // PostgreSQL evaluates the second condition only if the first one does not hold.
      `select case when exists (select from audit_stream as stream where ${taken.sql}) then 'taken'
        when exists (select from ${dueTrails} and ${condition}) then 'due' else 'none' end as due`,
      [...taken.params, ...params],
    );
    return due;
  }

  /** Reads the next events of some trails, at most `maxEvents`; none if there is nothing to deliver. */
  async read(maxEvents: number): Promise<TrailPart[]> {
    const parts: TrailPart[] = [];
    let left = maxEvents;
    const trails = await this.#findTrails();
    const readUntil = performance.now() + maxReadMs;
    for (const trail of trails) {
      if (left === 0 || performance.now() > readUntil) break;
      this.#after = trail.orgId;
      const part = await this.#readSafely(trail, Math.min(left, maxOfTrail));
      if (!part) continue;
      parts.push(part);
      left -= part.events.length;
    }
    return parts;
  }

  async #findTrails(): Promise<DueTrail[]> {
    const { condition, params } = this.#restrict();
    const find = (isAfter: '>' | '>=', id: string) =>
      this.#deps.database.asSystem().execute<DueTrail[]>(
        `select head.org_id as "orgId", position.seq, position.hash, position.mac
          from ${dueTrails} and ${condition} and head.org_id ${isAfter} ?::uuid order by head.org_id limit ${maxTrails}`,
        [...params, id],
      );
    const found = await find('>', this.#after);
    // No id is lower than that of the trail of the server.
    return found.length > 0 ? found : find('>=', unattributedOrgId);
  }

  #restrict(): { condition: string; params: string[] } {
    const now = performance.now();
    const blocked = [...this.#blocked].filter(([, until]) => until > now).map(([orgId]) => orgId);
    const isOther = { condition: 'head.org_id <> all(?::uuid[])', params: [`{${blocked}}`] };
    if (this.#scope === 'all') return isOther;
    return {
      condition: `${isOther.condition} and head.org_id = any(?::uuid[])`,
      params: [...isOther.params, `{${this.#scope}}`],
    };
  }

  async #readSafely(trail: DueTrail, limit: number): Promise<TrailPart | undefined> {
    const { orgId } = trail;
    try {
      return await this.#readTrail(trail, limit);
    } catch (error) {
      if (isDatabaseUnavailable(error)) throw error;
      // Its data key is damaged, for example. It does not stop the others.
      await this.#block(orgId, 'an audit trail cannot be streamed', { error: safeErrorFields(error) });
      return undefined;
    }
  }

  async #readTrail(trail: DueTrail, limit: number): Promise<TrailPart | undefined> {
    const { database, vault, log } = this.#deps;
    const { orgId, mac: readMac } = trail;
    const em = database.asSystem();
    let last = await toDeliveredPosition(em, vault, trail.mac === null ? null : trail);
    let missing: TrailPart['missing'];
    const where = { orgId, seq: { $gt: last.seq } };
    const found = await em.find(AuditEvent, where, { orderBy: { seq: 'asc' }, limit });
    if (found[0]?.seq !== last.seq + 1) {
      const deleted = await findDeletedEvents(em, vault, orgId);
      if (deleted && deleted.seq > last.seq) {
        // At the beginning, those that were deleted before AUDIT_STREAM was set are not missing.
        if (last.seq > 0) missing = { from: last.seq + 1, to: deleted.seq };
        last = deleted;
      }
    }
    const events: AuditEvent[] = [];
    let isBroken = false;
    for (const event of found) {
      isBroken = !(await continuesChain(em, vault, event, last));
      if (isBroken) break;
      events.push(event);
      last = event;
    }
    // Without an event, the next one, or the end of the trail, was removed.
    if (isBroken || events.length === 0)
      await this.#block(orgId, 'an audit trail is broken, and is not streamed from this event on', {
        seq: last.seq + 1,
      });
    else if (this.#blocked.delete(orgId)) log.info({ orgId }, 'an audit trail is streamed again');
    return events.length > 0 ? { orgId, events, readMac, missing } : undefined;
  }

  /** Leaves a trail alone for a while, and logs that once until it is read again. */
  async #block(orgId: string, message: string, context: object): Promise<void> {
    const isKnown = this.#blocked.has(orgId);
    this.#blocked.set(orgId, performance.now() + retryMs);
    if (isKnown) return;
    // The deletion of an organisation destroys its keys, and removes its events.
    const [exists] = await this.#deps.database
      .asSystem()
      .execute('select 1 from audit_head where org_id = ? and deletion_started_at is null', [orgId]);
    if (exists) this.#deps.log.error({ orgId, ...context }, message);
  }
}
