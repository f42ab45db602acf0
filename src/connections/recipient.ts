import { validationError } from '../common/errors.ts';
import type { ConnectionDeps } from './deps.ts';

/**
 * Rejects an address to which the operator lets this server send no e-mails.
 *
 * @throws AppError `BAD_USER_INPUT`
 */
export function assertRecipientAllowed(
  { isRecipientAllowed }: Pick<ConnectionDeps, 'isRecipientAllowed'>,
  address: string,
  path: string[],
): void {
  if (isRecipientAllowed(address)) return;
  const message =
    'This server sends no e-mails to addresses of this domain. Name an address of an allowed domain, or ask the operator to list this one in EMAIL_RECIPIENT_DOMAINS.';
  throw validationError([{ path, message }]);
}
