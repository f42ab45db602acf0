import { AppError } from '../common/errors.ts';

/** Whose credential it was that was refused, as far as that is certain. */
export interface ClaimedIdentity {
  orgId: string;
  keyId?: string;
  /** Who the identity provider says it is. */
  subject?: string;
}

const howToSignIn = 'Send the header "Authorization: Bearer <API key>".';

/** A credential was given, and does not let anybody in. */
export class AuthenticationError extends AppError {
  /** Absent when nobody knows whose credential it was meant to be. */
  readonly claimedIdentity: ClaimedIdentity | undefined;

  /** @param message why; it repeats nothing of the credential */
  constructor(
    message: string,
    { claimedIdentity, remedy = howToSignIn }: { claimedIdentity?: ClaimedIdentity; remedy?: string } = {},
  ) {
    super('UNAUTHENTICATED', message, { remedy });
    this.claimedIdentity = claimedIdentity;
  }
}

/** No credential was given at all. */
export function unauthenticated(): AppError {
  return new AppError('UNAUTHENTICATED', 'This needs an API key.', { remedy: howToSignIn });
}
