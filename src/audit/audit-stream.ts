import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { safeErrorFields } from '../common/log.ts';
import { auditStreamMeasurements } from '../common/measurements.ts';
import { ChangedOrganisations } from '../database/changed-organisations.ts';
import { inBackground } from '../database/driver/background-work.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { type SyslogReceiver, sendSyslog } from '../outbound/syslog.ts';
import type { AuditEvent } from './audit-event.entity.ts';
import { toExportLine } from './serialize-event.ts';
import { type Scope, type StreamDeps, StreamReader, storePositions } from './stream-batch.ts';
import { appendToFile, StreamFileError } from './stream-file.ts';
import { claimStream, pauseStream, recordDelivery, releaseStream } from './stream-lease.ts';

/** Where audit events are streamed to: a file, by its absolute path, or a receiver of syslog. */
export type AuditStreamTarget = { kind: 'file'; path: string } | ({ kind: 'syslog' } & SyslogReceiver);

/** A running stream. */
export interface AuditStreamer {
  /** Delivers what is due for up to two seconds more, and stops. What it leaves is delivered by another server, or later. */
  stop(): Promise<void>;
}

const stopMs = 2_000;
/** How long the server pauses between batches, in milliseconds, so that a long trail leaves the event loop to requests. */
const pauseMs = 50;
/** Changes are announced; all organisations are looked at once in so many intervals. */
const intervalsPerScan = 10;

/**
 * Delivers the events of all audit trails to a file or to syslog, the events of each trail in order and at least once. All servers look
 * for events at an interval; a lease lets one deliver them. The positions are stored after the delivery, so that a server that dies
 * leaves duplicates, and no gap (docs/adr/0022-audit-stream.md).
 */
export function startAuditStream(
  deps: StreamDeps,
  target: AuditStreamTarget | undefined,
  intervalMs: number | undefined,
): AuditStreamer | undefined {
  if (!target || !intervalMs) return undefined;
  const { log } = deps;
  const stopping = new AbortController();
  const aborting = new AbortController();
  const leaseId = randomUUID();
  const reader = new StreamReader(deps);
  const changed = new ChangedOrganisations(deps.database.changes);
  let scanAt = 0;

  const send = async (events: readonly AuditEvent[]): Promise<void> => {
    if (target.kind === 'file') return appendToFile(target.path, events.map(toExportLine));
    const messages = events.map((event) => ({ at: event.at, text: toExportLine(event) }));
    return sendSyslog(target, messages, aborting.signal);
  };
  /** Returns why the events could not be delivered; undefined if they were. */
  const deliver = async (events: readonly AuditEvent[]): Promise<string | undefined> => {
    try {
      await send(events);
      auditStreamMeasurements.publish({ events: events.length, isDelivered: true });
      return undefined;
    } catch (error) {
      if (!(error instanceof OutboundError || error instanceof StreamFileError)) throw error;
      if (!aborting.signal.aborted)
        auditStreamMeasurements.publish({ events: events.length, isDelivered: false });
      return error.message;
    }
  };
  /**
   * Delivers the events of organisations until none is due.
   *
   * @returns false if events may be left
   */
  const deliverScope = async (scope: Scope): Promise<boolean> => {
    let isMine = false;
    for (;;) {
      const due = await reader.findDue(scope, leaseId);
      if (due === 'taken') return false;
      if (due === 'none' || aborting.signal.aborted) break;
      const claim = await claimStream(deps, leaseId);
      if (!claim) return false;
      isMine = true;
      const { failingSince } = claim;
      const parts = await reader.read();
      // The trails that were found cannot be read, and are left alone from now on.
      if (parts.length === 0) continue;
      const failure = await deliver(parts.flatMap(({ events }) => events));
      if (failure !== undefined && aborting.signal.aborted) break;
      if (failure !== undefined) {
        if (!failingSince)
          log.error(
            { why: failure },
            'audit events could not be delivered to AUDIT_STREAM; they are sent again',
          );
        await pauseStream(deps, leaseId, failingSince, failure);
        return false;
      }
      if (failingSince) {
        await recordDelivery(deps, leaseId);
        log.info('AUDIT_STREAM takes audit events again');
      }
      if (!(await storePositions(deps, leaseId, parts))) return false;
      await sleep(pauseMs);
    }
    if (isMine) await releaseStream(deps, leaseId);
    return true;
  };
  const deliverDue = async (): Promise<void> => {
    // Another server may have died, or its announcement of a change was lost.
    if (performance.now() >= scanAt) {
      scanAt = performance.now() + intervalMs * intervalsPerScan;
      changed.add('all');
    }
    const scope = changed.take();
    let isComplete = false;
    try {
      isComplete = await deliverScope(scope);
    } finally {
      if (!isComplete) changed.add(scope);
    }
  };
  const deliverSafely = () =>
    inBackground('audit-stream', deliverDue).catch((error: unknown) => {
      const level = isDatabaseUnavailable(error) ? 'debug' : 'error';
      log[level]({ error: safeErrorFields(error) }, 'audit events could not be streamed');
    });
  const run = async () => {
    while (!stopping.signal.aborted) {
      await deliverSafely();
      await sleep(intervalMs, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);
    }
  };
  const running = run();
  return {
    async stop() {
      stopping.abort();
      const timer = setTimeout(() => aborting.abort(), stopMs);
      await running;
      // The server has written its last events meanwhile.
      changed.add('all');
      await deliverSafely();
      clearTimeout(timer);
      changed.stop();
    },
  };
}
