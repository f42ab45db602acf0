import { type OrganisationStatus, organisationDisabled } from '../audit/trail-head.ts';
import { AppError, type ErrorCode } from '../common/errors.ts';

/** The identity that a rejected credential belongs to. */
export interface ClaimedIdentity {
  orgId: string;
  keyId?: string;
  /** The `sub` claim of the token. */
  subject?: string;
  setupLinkId?: string;
}

const defaultRemedy = 'Send the header "Authorization: Bearer <API key>".';

/** A rejected credential. */
export class AuthenticationError extends AppError {
  /** Undefined if the credential cannot be attributed. */
  readonly claimedIdentity: ClaimedIdentity | undefined;

  /** @param message the reason; it must not contain any part of the credential */
  constructor(
    message: string,
    {
      claimedIdentity,
      remedy = defaultRemedy,
      code = 'UNAUTHENTICATED',
    }: { claimedIdentity?: ClaimedIdentity; remedy?: string | undefined; code?: ErrorCode } = {},
  ) {
    super(code, message, { remedy });
    this.claimedIdentity = claimedIdentity;
  }
}

/** @throws AuthenticationError `ORGANISATION_DISABLED`, if the organisation of a valid credential is disabled */
export function assertOrganisationEnabled(
  status: Partial<OrganisationStatus>,
  claimedIdentity: ClaimedIdentity,
): void {
  if (!status.disabledAt) return;
  const { code, message, remedy } = organisationDisabled(status);
  throw new AuthenticationError(message, { claimedIdentity, code, remedy });
}

/** The error for a request without a credential. */
export function unauthenticated(): AppError {
  return new AppError('UNAUTHENTICATED', 'The request has no credential.', { remedy: defaultRemedy });
}
