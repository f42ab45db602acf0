import type { ExpiryReason } from '../connections/app-connection.entity.ts';
import { parseExpiryTarget } from '../connections/expiry-target.ts';
import type { DescribedEvent } from './body.ts';

/** What a sentence says about the connection, and what to do; before the end and after it. */
const descriptions: Readonly<
  Record<ExpiryReason, { before(end: string): string; after(end: string): string }>
> = {
  UNUSED: {
    before: (end) =>
      `has credentials that end on ${end} if they are not used before. Turn on its checks, or find out why they do not get through.`,
    after: (end) =>
      `has credentials that ended on ${end}, as far as this server knows, because they were not used. Verify it, and replace them if they do not work.`,
  },
  OWNER_INACTIVE: {
    before: () =>
      'has credentials whose owner is no longer active, so that they can end at any time. Replace them by those of an active owner.',
    after: () => 'has credentials whose owner is no longer active. Replace them by those of an active owner.',
  },
  KEY_AGE: {
    before: (end) => `has a key that should be replaced by ${end}, and nothing replaces it. Rotate it.`,
    after: (end) => `has a key that should have been replaced by ${end}. It still works. Rotate it.`,
  },
};

/**
 * Says when and why the credentials of a connection end, and what to do. The connection may have changed since the event, which
 * has the time and the reason itself.
 *
 * @param format formats a time in RFC 3339
 * @returns the predicate of a sentence, with the sentences after it; undefined if the event is another one
 */
export function describeExpiry(
  { action, targetName }: DescribedEvent,
  format: (time: string) => string,
): string | undefined {
  if (action !== 'WARN_OF_EXPIRY' && action !== 'EXPIRE_CONNECTION') return undefined;
  const { reason, expiresAt } = parseExpiryTarget(targetName) ?? {};
  if (!reason) return undefined;
  const when = action === 'EXPIRE_CONNECTION' ? 'after' : 'before';
  return descriptions[reason][when](expiresAt ? format(expiresAt) : 'an unknown time');
}
