import { withForbiddenAudit } from '../../audit/record-refusals.ts';
import type { ErrorCode } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import { parseCertificateTarget } from '../certificate-target.ts';
import type { ConnectionDeps } from '../deps.ts';
import {
  changesSince,
  findStart,
  type Located,
  type SubscribeOptions,
  type WatchedEvent,
} from './changes-since.ts';

/** What has happened to a host. */
export const hostChangeKinds = ['UNREACHABLE', 'RECOVERED', 'CERTIFICATE_EXPIRING'] as const;

/** A change of a host, which is one event for all of its connections. */
export interface HostChange {
  /** The cursor of this change: as `after`, it continues with the next one. */
  eventId: string;
  kind: (typeof hostChangeKinds)[number];
  /** The origin, such as `https://example.okta.com`. */
  host: string;
  /** Why it is unreachable; null otherwise. */
  code: ErrorCode | null;
  /** When its certificate ends, if that is warned of. */
  certificateValidTo: Date | null;
}

/**
 * Yields every outage of a host of the organisation, its end, and warnings of the end of its certificate, from now on or after the
 * event `after`.
 *
 * @throws AppError `FORBIDDEN`, `BAD_USER_INPUT` (`after`), and later the errors of `assertStillAuthenticated`
 */
export async function subscribeToHosts(
  deps: ConnectionDeps,
  caller: Caller,
  options: SubscribeOptions,
): Promise<AsyncGenerator<HostChange>> {
  return withForbiddenAudit(deps, caller, { action: 'READ_CONNECTIONS' }, async () => {
    caller.requireScope('connections:read');
    caller.requireWholeOrganisation();
    const start = await findStart(deps, caller, options.after);
    return changesSince<HostChange>(deps, caller, start, options, describeChanges);
  });
}

async function* describeChanges(
  events: readonly WatchedEvent[],
  beforeEach: () => Promise<void>,
): AsyncGenerator<Located<HostChange>> {
  for (const event of events) {
    const change = describeChange(event);
    if (!change) continue;
    await beforeEach();
    yield { seq: event.seq, change };
  }
}

function describeChange({
  action,
  outcome,
  targetName,
}: WatchedEvent): Located<HostChange>['change'] | undefined {
  if (targetName == null) return undefined;
  if (action === 'WARN_OF_CERTIFICATE') {
    const { host, validTo } = parseCertificateTarget(targetName);
    return { kind: 'CERTIFICATE_EXPIRING', host, code: null, certificateValidTo: new Date(validTo) };
  }
  if (action !== 'CHECK_HOST') return undefined;
  if (outcome === 'OK') return { kind: 'RECOVERED', host: targetName, code: null, certificateValidTo: null };
  const code = outcome === 'CLIENT_DISCONNECTED' ? null : outcome;
  return { kind: 'UNREACHABLE', host: targetName, code, certificateValidTo: null };
}
