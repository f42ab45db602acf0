import { pathToFileURL } from 'node:url';
import { OutboundError } from '../outbound/outbound-error.ts';
import { type SyslogReceiver, sendSyslog } from '../outbound/syslog.ts';
import { startDeadline } from '../outbound/timeout.ts';
import type { AuditEvent } from './audit-event.entity.ts';
import { toExportLine } from './serialize-event.ts';
import { appendToFile, checkFile, StreamFileError } from './stream-file.ts';

/** Where audit events are streamed to: a file, by its absolute path, or a receiver of syslog. */
export type AuditStreamTarget = { kind: 'file'; path: string } | ({ kind: 'syslog' } & SyslogReceiver);

/** Returns a target as AUDIT_STREAM has it. */
export function toTargetUrl(target: AuditStreamTarget): string {
  if (target.kind === 'file') return pathToFileURL(target.path).href;
  const { host, port, isTls } = target;
  return `syslog+${isTls ? 'tls' : 'tcp'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** How long a file system may take for a batch, in milliseconds. */
const fileTimeoutMs = 10_000;

/** Delivers audit events to the target of AUDIT_STREAM. */
export class StreamDestination {
  readonly #target: AuditStreamTarget;
  /** What is being done with the file. A file system that hangs, such as NFS, cannot be interrupted. */
  #fileTask: Promise<void> | undefined;

  constructor(target: AuditStreamTarget) {
    this.#target = target;
  }

  /**
   * Looks whether this server can write the file, before there is an event for it. A receiver is not asked.
   *
   * @returns undefined, or why it cannot, as a clause for operators
   */
  check(signal: AbortSignal): Promise<string | undefined> {
    const target = this.#target;
    return describeFailure(async () => {
      if (target.kind === 'file') await this.#withinTime(() => checkFile(target.path), signal);
    });
  }

  /**
   * Delivers events in their order.
   *
   * @returns undefined if the target has all of them; otherwise why not, as a clause for operators
   */
  deliver(events: readonly AuditEvent[], signal: AbortSignal): Promise<string | undefined> {
    const target = this.#target;
    return describeFailure(() => {
      if (target.kind === 'file')
        return this.#withinTime(() => appendToFile(target.path, events.map(toExportLine)), signal);
      const messages = events.map((event) => ({ at: event.at, text: toExportLine(event) }));
      return sendSyslog(target, messages, signal);
    });
  }

  /** Starts a task once the previous one has ended, so that no two write at a time, and waits for it. */
  async #withinTime(task: () => Promise<void>, signal: AbortSignal): Promise<void> {
    using deadline = startDeadline(fileTimeoutMs, [signal]);
    deadline.message = `the file system did not answer within ${fileTimeoutMs / 1_000} s`;
    if (this.#fileTask) await deadline.within(this.#fileTask);
    const running = task();
    this.#fileTask = running.then(noop, noop);
    await deadline.within(running);
  }
}

const noop = () => undefined;

async function describeFailure(task: () => Promise<void>): Promise<string | undefined> {
  try {
    await task();
    return undefined;
  } catch (error) {
    if (error instanceof OutboundError || error instanceof StreamFileError) return error.message;
    throw error;
  }
}
