import { errors, type JWTPayload } from 'jose';
import { AppError } from '../common/errors.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { AuthenticationError, type ClaimedIdentity } from './authentication-error.ts';
import { type ClaimNames, parseIdentity } from './token-claims.ts';

/** Converts an error of jose: the token is rejected, or it could not be verified. */
export function toTokenError(error: unknown, claims: ClaimNames): AppError {
  if (error instanceof errors.JWTExpired)
    return tokenRejected('The token has expired.', { payload: error.payload, claims });
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason, payload } = error;
    if (reason !== 'check_failed') return invalidClaims(claim);
    if (claim === 'nbf') return tokenRejected('The token is not valid yet.', { payload, claims });
    return tokenRejected(
      claim === 'iss'
        ? 'The issuer of the token (iss) is not OIDC_ISSUER.'
        : 'The audience of the token (aud) is not OIDC_AUDIENCE.',
    );
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return tokenRejected('The token is unsigned, or signed with an algorithm that is not supported.');
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return tokenRejected(
      'The token does not name its signing key (kid), and the identity provider has several keys.',
    );
  }
  if (error instanceof errors.JOSEError && !isKeySetError(error)) {
    return tokenRejected('The signature of the token is not by a key of the identity provider.');
  }
  return providerUnreachable(error);
}

/** Whether the key set itself is invalid. jose has no error class for responses that are not a key set. */
function isKeySetError(error: errors.JOSEError): boolean {
  return (
    error instanceof errors.JWKSInvalid ||
    error instanceof errors.JWKSTimeout ||
    error.code === errors.JOSEError.code
  );
}

/** The error for a token whose claims are missing or invalid. */
export function invalidClaims(...claims: string[]): AuthenticationError {
  return tokenRejected(
    claims.map((claim) => `The claim ${claim} of the token is missing or invalid.`).join(' '),
  );
}

/** The optional parts of the error for a rejected token. */
interface RejectionOptions {
  /** The payload, if its signature and its audience are valid, so that the identity is certain. */
  payload?: JWTPayload;
  claims?: ClaimNames;
  remedy?: string;
}

const newTokenRemedy =
  'Send the header "Authorization: Bearer <token>" with a new token of the identity provider.';

/** The error for a rejected token. */
export function tokenRejected(message: string, options: RejectionOptions = {}): AuthenticationError {
  const { payload, claims, remedy = newTokenRemedy } = options;
  const identity = payload && claims && parseIdentity(payload, claims).data;
  const claimedIdentity: ClaimedIdentity | undefined = identity && {
    orgId: identity.orgId,
    subject: identity.subject,
  };
  return new AuthenticationError(message, {
    ...(claimedIdentity && { claimedIdentity }),
    remedy,
  });
}

function providerUnreachable(error: unknown): AppError {
  const outboundError = error instanceof OutboundError ? error : undefined;
  const reason = outboundError?.message ?? 'they are invalid';
  const certificateHint = outboundError?.isAboutAuthority
    ? ' If the certificate is issued by a private authority, the operator sets NODE_EXTRA_CA_CERTS to its certificate and restarts the server.'
    : '';
  return new AppError(
    'UPSTREAM_UNREACHABLE',
    `The keys of the identity provider could not be fetched: ${reason}.`,
    {
      remedy: `The token was not verified. Try again later, or use an API key.${certificateHint}`,
    },
  );
}
