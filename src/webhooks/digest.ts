import { currentTimeMs } from '../common/clock.ts';
import { formatCount } from '../common/format-count.ts';
import { parseCertificateTarget } from '../connections/certificate-target.ts';
import type { BodyInput } from './body.ts';
import { describeExpiry } from './describe-expiry.ts';
import type { WebhookEventType } from './event-types.ts';
import type { WebhookEndpoint } from './webhook-endpoint.entity.ts';

/** How long an event waits for others, in milliseconds. */
const collectMs = 60_000;
/** The shortest time between two digests that were delivered, in milliseconds. */
export const intervalMs = 600_000;

/** The delivery state that decides when an event is sent. */
export type DigestState = Pick<WebhookEndpoint, 'lastSuccessAt' | 'failingSince' | 'nextAttemptAt'>;

/**
 * Returns when an event is sent: a minute later with what else happens in that minute, not within ten minutes of the last
 * digest, and not before a digest that failed is tried again. A test event is sent at once.
 */
export function findDigestTime(
  type: WebhookEventType,
  { lastSuccessAt, failingSince, nextAttemptAt }: DigestState,
): Date {
  const now = currentTimeMs();
  if (type === 'webhook.test') return new Date(now);
  const retryMs = failingSince ? (nextAttemptAt?.getTime() ?? 0) : 0;
  return new Date(Math.max(now + collectMs, (lastSuccessAt?.getTime() ?? 0) + intervalMs, retryMs));
}

/** What a sentence says about the connection or the host, by the type of the event. */
const predicates: Readonly<Record<WebhookEventType, string>> = {
  'connection.created': 'was created',
  'connection.updated': 'was updated',
  'connection.deleted': 'was deleted',
  'connection.restored': 'was restored',
  'connection.purged': 'was removed for good',
  'connection.verified': 'works',
  'connection.failing': 'does not work',
  'connection.recovered': 'works again',
  'connection.expiring': 'has credentials that end soon, or whose owner is no longer active',
  'connection.expired': 'has credentials that have ended, as far as this server knows',
  'connection.key_rotation_started': 'has a new key, which the app has not accepted yet',
  'connection.key_rotated': 'has a new key, which the app has accepted',
  'connection.token_revoked': 'has replaced its token, and the app has revoked the old one',
  'connection.token_not_revoked': 'has replaced its token, and the app has not revoked the old one',
  'connection.policy_changed': 'has another use policy',
  'host.unreachable': 'does not answer',
  'host.recovered': 'answers again',
  'host.certificate_expiring': 'has a certificate that ends soon',
  'webhook.test': 'This is a test.',
};

/** Describes an event for people in one line of plain text. */
export function describeForPeople(
  { type, event, connection }: Omit<BodyInput, 'id'>,
  publicUrl: string,
): string {
  const time = formatMinute(event.at.toISOString());
  if (type === 'webhook.test') return `${time}  ${predicates[type]}`;
  if (type === 'host.certificate_expiring') {
    const { host, validTo } = parseCertificateTarget(event.targetName);
    return `${time}  ${host} has a certificate that ends on ${formatMinute(validTo)}. Renew it before, or no connection to the host works.`;
  }
  const { connectionId, projectId } = event;
  const subject = connectionId
    ? (event.connectionName ?? connection?.name ?? connectionId)
    : (event.targetName ?? 'A host');
  const page = `${projectId ? `projects/${projectId}` : 'organisation'}/integrations/app-connections`;
  const isGone = type === 'connection.deleted' || type === 'connection.purged';
  const isFailing = type === 'connection.failing' && connection?.verificationMessage;
  return [
    `${time}  ${subject} ${describeExpiry(event, formatMinute) ?? `${predicates[type]}.`}`,
    ...(isFailing ? [connection.verificationMessage, connection.verificationRemedy] : []),
    ...(connectionId && !isGone ? [`${publicUrl}/#/${page}/${connectionId}`] : []),
  ]
    .filter((part) => part)
    .join(' ');
}

/** @param at in RFC 3339, in UTC */
function formatMinute(at: string): string {
  return `${at.slice(0, 16).replace('T', ' ')} UTC`;
}

/** The most events that a digest lists. */
const maxListed = 50;

/** What a digest says. */
export interface Digest {
  subject: string;
  text: string;
}

/** Combines the lines of events, oldest first. */
export function combineLines(lines: readonly string[]): Digest {
  const more = lines.length - maxListed;
  const rest = more > 0 ? [`and ${more} more, which the audit trail has.`] : [];
  return {
    subject: `App Connections: ${formatCount(lines.length, 'event')}`,
    text: [...lines.slice(0, maxListed), ...rest].join('\n'),
  };
}

/** Builds the body for an incoming webhook of Slack, which gives a meaning to three characters. */
export function buildSlackBody({ text }: Digest): string {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return JSON.stringify({ text: escaped });
}
