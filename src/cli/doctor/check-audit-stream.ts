import type { EntityManager } from '@mikro-orm/postgresql';
import { measureStream } from '../../audit/measure-stream.ts';
import { toTargetUrl } from '../../audit/stream-destination.ts';
import type { Config } from '../../config/config.ts';
import { createFindings, type Finding } from './finding.ts';

const { ok, warning, skipped } = createFindings('audit stream');

/** Events are delivered within seconds; after this time, something is wrong. */
const maxDelaySeconds = 300;

/**
 * Checks that audit events reach AUDIT_STREAM, if it is set.
 *
 * @param em sees the rows of all organisations
 */
export async function checkAuditStream(
  em: EntityManager,
  { auditStream }: Pick<Config, 'auditStream'>,
): Promise<Finding> {
  if (!auditStream) return skipped('AUDIT_STREAM is not set; audit events are only stored.');
  const { events, oldestSeconds, failingSince, failure, target } = await measureStream(em);
  if (failingSince)
    return warning(
      `Since ${failingSince.toISOString()}, AUDIT_STREAM has taken no events: ${failure}. ${events} wait.`,
      'Check AUDIT_STREAM and its receiver. No event is lost meanwhile.',
    );
  if (oldestSeconds > maxDelaySeconds)
    return warning(
      `${events} audit events wait for AUDIT_STREAM, the oldest for ${Math.round(oldestSeconds)} s.`,
      'Start a server with AUDIT_STREAM, and look for "audit trail" in its log: a broken trail is not streamed.',
    );
  if (target !== null && target !== toTargetUrl(auditStream))
    return warning(
      `The last audit events were sent to ${target}, which is not AUDIT_STREAM here.`,
      'Set the same AUDIT_STREAM on all servers. After a change, this ends with the next event.',
    );
  return ok(`AUDIT_STREAM takes audit events; ${events} wait.`);
}
