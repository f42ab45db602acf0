import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { safeErrorFields } from '../common/log.ts';
import { auditStreamMeasurements } from '../common/measurements.ts';
import { ChangedOrganisations } from '../database/changed-organisations.ts';
import { inBackground } from '../database/driver/background-work.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import type { AuditEvent } from './audit-event.entity.ts';
import { type Scope, type StreamDeps, StreamReader } from './stream-batch.ts';
import { type AuditStreamTarget, StreamDestination, toTargetUrl } from './stream-destination.ts';
import { claimStream, pauseStream, recordDelivery, releaseStream } from './stream-lease.ts';
import { storePositions } from './stream-position.ts';

const stopMs = 2_000;
/** How long the server pauses between batches, in milliseconds, so that a long trail leaves the event loop to requests. */
const pauseMs = 50;
/** The most events of a batch. A batch that fails is followed by one of a tenth, so that a slow receiver gets on. */
const maxBatchEvents = 1_000;
/** Changes are announced; all organisations are looked at once in so many intervals. */
const intervalsPerScan = 10;
/** How often a server warns that another one has another destination, in milliseconds. */
const warnEveryMs = 3_600_000;

/** Starts the stream; undefined without a target, or without an interval. */
export function startAuditStream(
  deps: StreamDeps,
  target: AuditStreamTarget | undefined,
  intervalMs: number | undefined,
): AuditStreamer | undefined {
  return target && intervalMs ? new AuditStreamer(deps, target, intervalMs) : undefined;
}

/**
 * Delivers the events of all audit trails to a file or to syslog, the events of each trail in order and at least once. All servers look
 * for events at an interval; a lease lets one deliver them. The positions are stored after the delivery, so that a server that dies
 * leaves duplicates, and no gap (docs/adr/0022-audit-stream.md).
 */
class AuditStreamer {
  readonly #deps: StreamDeps;
  readonly #destination: StreamDestination;
  readonly #target: string;
  readonly #intervalMs: number;
  readonly #leaseId = randomUUID();
  readonly #reader: StreamReader;
  readonly #changed: ChangedOrganisations;
  /** Aborts when no further interval begins. */
  readonly #stopping = new AbortController();
  /** Aborts when no further batch begins, and the one that is being delivered fails. */
  readonly #aborting = new AbortController();
  readonly #running: Promise<void>;
  #batchEvents = maxBatchEvents;
  #scanAt = 0;
  #warnAt = 0;

  /** Starts to look for events, once in `intervalMs` milliseconds. */
  constructor(deps: StreamDeps, target: AuditStreamTarget, intervalMs: number) {
    this.#deps = deps;
    this.#destination = new StreamDestination(target);
    this.#target = toTargetUrl(target);
    this.#intervalMs = intervalMs;
    this.#reader = new StreamReader(deps);
    this.#changed = new ChangedOrganisations(deps.database.changes);
    this.#running = this.#run();
  }

  /** Delivers what is due for up to two seconds more, and stops. What it leaves is delivered by another server, or later. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const timer = setTimeout(() => this.#aborting.abort(), stopMs);
    await this.#running;
    // The server has written its last events meanwhile.
    this.#changed.add('all');
    await this.#deliverSafely();
    clearTimeout(timer);
    this.#changed.stop();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const failure = await this.#destination.check(this.#aborting.signal);
    if (failure !== undefined)
      this.#deps.log.error({ why: failure }, 'this server cannot write to the file of AUDIT_STREAM');
    while (!signal.aborted) {
      await this.#deliverSafely();
      await sleep(this.#intervalMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  async #deliverSafely(): Promise<void> {
    try {
      await inBackground('audit-stream', () => this.#deliverDue());
    } catch (error) {
      const level = isDatabaseUnavailable(error) ? 'debug' : 'error';
      this.#deps.log[level]({ error: safeErrorFields(error) }, 'audit events could not be streamed');
    }
  }

  /** Delivers the events of the organisations that have changed, or of all. */
  async #deliverDue(): Promise<void> {
    // Another server may have died, or its announcement of a change was lost.
    if (performance.now() >= this.#scanAt) {
      this.#scanAt = performance.now() + this.#intervalMs * intervalsPerScan;
      this.#changed.add('all');
    }
    const scope = this.#changed.take();
    let isComplete = false;
    try {
      isComplete = await this.#deliverScope(scope);
    } finally {
      if (!isComplete) this.#changed.add(scope);
    }
  }

  /**
   * Delivers the events of organisations until none is due.
   *
   * @returns false if events may be left
   */
  async #deliverScope(scope: Scope): Promise<boolean> {
    let hasLease = false;
    for (;;) {
      const due = await this.#reader.findDue(scope, this.#leaseId);
      if (due === 'taken') return false;
      if (due === 'none' || this.#aborting.signal.aborted) break;
      hasLease = await this.#deliverBatch();
      if (!hasLease) return false;
      await sleep(pauseMs);
    }
    if (hasLease) await releaseStream(this.#deps, this.#leaseId);
    return true;
  }

  /**
   * Delivers the next events, and stores their positions.
   *
   * @returns whether this server has the lease, and may deliver the next batch
   */
  async #deliverBatch(): Promise<boolean> {
    const first = await claimStream(this.#deps, this.#leaseId, this.#target);
    if (!first) return false;
    this.#compareTarget(first.previousTarget);
    const parts = await this.#reader.read(this.#batchEvents);
    // The trails that were found cannot be read, and are left alone from now on.
    if (parts.length === 0) return true;
    // This server may have been frozen meanwhile, or the database slow.
    const claim = await claimStream(this.#deps, this.#leaseId, this.#target);
    if (!claim) return false;
    const failure = await this.#deliver(parts.flatMap(({ events }) => events));
    const next = failure === undefined ? this.#batchEvents * 2 : Math.ceil(this.#batchEvents / 10);
    this.#batchEvents = Math.min(next, maxBatchEvents);
    if (failure !== undefined) {
      await this.#pause(claim.failingSince, failure);
      return false;
    }
    if (claim.failingSince) {
      await recordDelivery(this.#deps, this.#leaseId);
      this.#deps.log.info('AUDIT_STREAM takes audit events again');
    }
    if (!(await storePositions(this.#deps, this.#leaseId, parts))) return false;
    for (const { orgId, missing } of parts) {
      if (missing)
        this.#deps.log.warn({ orgId, ...missing }, 'audit events were deleted before they were streamed');
    }
    return true;
  }

  /** Warns if the server that has streamed before sends the events to another place: each place then misses some. */
  #compareTarget(previous: string | null): void {
    if (previous === null || previous === this.#target || performance.now() < this.#warnAt) return;
    this.#warnAt = performance.now() + warnEveryMs;
    this.#deps.log.warn(
      { previous, target: this.#target },
      'earlier audit events were sent to another AUDIT_STREAM: it was changed, or servers have different ones',
    );
  }

  /** Returns why the events could not be delivered; undefined if they were. */
  async #deliver(events: readonly AuditEvent[]): Promise<string | undefined> {
    const { signal } = this.#aborting;
    const failure = await this.#destination.deliver(events, signal);
    const isDelivered = failure === undefined;
    if (isDelivered || !signal.aborted)
      auditStreamMeasurements.publish({ events: events.length, isDelivered });
    return failure;
  }

  /** Ends the lease after a failure, which is logged if it is the first one. The end of this server is no failure. */
  async #pause(failingSince: Date | null, failure: string): Promise<void> {
    if (this.#aborting.signal.aborted) return releaseStream(this.#deps, this.#leaseId);
    if (!failingSince)
      this.#deps.log.error(
        { why: failure },
        'audit events could not be delivered to AUDIT_STREAM; they are sent again',
      );
    await pauseStream(this.#deps, this.#leaseId, failingSince, failure);
  }
}
