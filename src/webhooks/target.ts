import { validationError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { assertRecipientAllowed } from '../connections/recipient.ts';
import { assertReceiverAllowed } from './endpoints.ts';
import type { WebhookSecrets } from './secrets.ts';
import { isDigest, type WebhookEndpoint, type WebhookFormat } from './webhook-endpoint.entity.ts';

/** Where an endpoint sends to, as it is stored. */
export interface StoredTarget {
  /** What is shown: of an address that is a secret, only the host. */
  url: string;
  secret: WebhookSecrets['url'];
}

/**
 * Checks where an endpoint is to send to.
 *
 * @throws AppError `BAD_USER_INPUT` (the URL does not fit the format, or this server sends no e-mails there), `HOST_NOT_ALLOWED`
 */
export function toStoredTarget(deps: ConnectionDeps, format: WebhookFormat, url: string): StoredTarget {
  const isMail = url.startsWith('mailto:');
  if (isMail !== (format === 'EMAIL')) {
    throw urlError(
      isMail
        ? 'The format of a mailto: URL is EMAIL. Choose this format, or give an https address.'
        : 'The format EMAIL needs a mailto: URL, such as mailto:team@example.com.',
    );
  }
  if (isMail) {
    if (!deps.sendsMail)
      throw urlError('This server sends no e-mails. Its operator has to set SMTP_URL and SMTP_FROM first.');
    assertRecipientAllowed(deps, new URL(url).pathname, ['url']);
    return { url, secret: undefined };
  }
  assertReceiverAllowed(deps, url);
  if (format !== 'SLACK') return { url, secret: undefined };
  return { url: `${new URL(url).origin}/`, secret: new Secret(url) };
}

/**
 * Checks that the format of an endpoint can be changed: what waits for people is not for programs, and the other way round.
 *
 * @throws AppError `BAD_USER_INPUT`
 */
export function assertCompatibleFormat(
  { format: before }: Pick<WebhookEndpoint, 'format'>,
  format: WebhookFormat,
): void {
  if (format === before || !(isDigest(format) || isDigest(before))) return;
  const message = `The format cannot be changed from ${before} to ${format}. Create another endpoint.`;
  throw validationError([{ path: ['format'], message }]);
}

function urlError(message: string): Error {
  return validationError([{ path: ['url'], message }]);
}
