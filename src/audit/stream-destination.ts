import { OutboundError } from '../outbound/outbound-error.ts';
import { type SyslogReceiver, sendSyslog } from '../outbound/syslog.ts';
import type { AuditEvent } from './audit-event.entity.ts';
import { toExportLine } from './serialize-event.ts';
import { appendToFile, StreamFileError } from './stream-file.ts';

/** Where audit events are streamed to: a file, by its absolute path, or a receiver of syslog. */
export type AuditStreamTarget = { kind: 'file'; path: string } | ({ kind: 'syslog' } & SyslogReceiver);

/**
 * Delivers events to the target, in their order.
 *
 * @returns undefined if the target has all of them; otherwise why not, as a clause for operators
 */
export async function deliverEvents(
  target: AuditStreamTarget,
  events: readonly AuditEvent[],
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    if (target.kind === 'file') await appendToFile(target.path, events.map(toExportLine));
    else {
      const messages = events.map((event) => ({ at: event.at, text: toExportLine(event) }));
      await sendSyslog(target, messages, signal);
    }
    return undefined;
  } catch (error) {
    if (error instanceof OutboundError || error instanceof StreamFileError) return error.message;
    throw error;
  }
}
