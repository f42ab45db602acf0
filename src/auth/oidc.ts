import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { z } from 'zod';
import { AppError } from '../common/errors.ts';
import { type Identity, scopes } from '../identity/caller.ts';
import type { Outbound } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { findTokenDefect } from './access-token.ts';
import { AuthenticationError, type ClaimedIdentity } from './authentication-error.ts';
import { configurationUrl, fetchJson, fetchProviderConfiguration, issuerMismatch } from './oidc-discovery.ts';

/** The identity provider whose tokens are accepted, and the names of their claims. */
export interface OidcSettings {
  /** The `iss` claim of its tokens, and the base URL of its metadata. */
  issuer: string;
  /** The `aud` claim of tokens for this server. */
  audience: string;
  orgClaim: string;
  scopeClaim: string;
  projectsClaim: string;
  /** The OAuth client of the dashboard and the scopes that it requests. Absent: the dashboard does not use the provider. */
  client?: { id: string; scopes: string } | undefined;
}

/** Verifies access tokens. */
export interface TokenVerifier {
  /**
   * @returns the identity that the claims of the token name
   * @throws AuthenticationError if the token is rejected
   * @throws AppError `UPSTREAM_UNREACHABLE` if the keys of the provider cannot be fetched
   */
  verify(token: string): Promise<Identity & { keyId: null; expiresAt: Date }>;
}

/**
 * Only asymmetric algorithms. With HMAC, an attacker could use the public key as the secret (RFC 8725, section 2.1), and
 * `none` needs no key at all.
 */
const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

const clockSkewSeconds = 60;

/** Whether a credential has the format of a JWT: three parts in base64url, where the signature may be empty. */
export function isJwt(text: string): boolean {
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(text);
}

/** Creates a verifier. It fetches the keys of the provider when it verifies the first token. */
export function createTokenVerifier(settings: OidcSettings, outbound: Outbound): TokenVerifier {
  const keys = createKeySet(settings.issuer, outbound);
  const claims = claimNames(settings);
  return {
    async verify(token) {
      const { payload, protectedHeader } = await jwtVerify(token, keys, {
        issuer: settings.issuer,
        audience: settings.audience,
        algorithms,
        clockTolerance: clockSkewSeconds,
      }).catch((error: unknown) => {
        throw toAuthenticationError(error, claims);
      });
      const { success, data, error } = readClaims(payload, claims);
      if (!success) {
        const invalidFields = error.issues.map(({ path }) => path[0]);
        const invalid = Object.entries(claims).filter(([field]) => invalidFields.includes(field));
        throw invalidClaims(...invalid.map(([, claim]) => claim));
      }
      const defect = findTokenDefect(protectedHeader, payload, {
        scopeClaim: settings.scopeClaim,
        clockSkewSeconds,
      });
      if (defect) throw authenticationError(defect.message, { payload, claims, remedy: defect.remedy });
      return { ...data, keyId: null };
    },
  };
}

/** A list in a claim: an array, or a string with spaces between the items. */
const listClaim = z.union([
  z.array(z.string()),
  z.string().transform((text) => text.split(' ').filter(Boolean)),
]);

/** The last second of the year 9999. Later times have no ISO 8601 format with four digits for the year. */
const maxTimestampSeconds = 253_402_300_799;

/** The schema of an identity in the claims of a token. */
const identitySchema = z.object({
  orgId: z.guid().toLowerCase(),
  // OpenID Connect Core 1.0, section 2: at most 255 ASCII characters.
  subject: z.string().regex(/^[\x20-\x7e]{1,255}$/),
  // Scopes of other resource servers are ignored.
  scopes: listClaim.optional().transform((granted) => scopes.filter((scope) => granted?.includes(scope))),
  // An invalid list must not lift the limit: only a token without the claim is not limited.
  projectIds: listClaim
    .pipe(z.array(z.guid().toLowerCase()).max(1_000))
    .optional()
    .transform((ids) => ids ?? null),
  expiresAt: z
    .number()
    .max(maxTimestampSeconds)
    .transform((seconds) => new Date(seconds * 1_000)),
});

/** The name of the claim for each field of an identity. */
type Claims = Readonly<Record<keyof typeof identitySchema.shape, string>>;

function claimNames({ orgClaim, scopeClaim, projectsClaim }: OidcSettings): Claims {
  return { orgId: orgClaim, subject: 'sub', scopes: scopeClaim, projectIds: projectsClaim, expiresAt: 'exp' };
}

function readClaims(payload: JWTPayload, claims: Claims) {
  const values = Object.entries(claims).map(([field, claim]) => [field, payload[claim]]);
  return identitySchema.safeParse(Object.fromEntries(values));
}

/** Creates the key set of the provider. It is fetched again after ten minutes, and if a token names an unknown key. */
function createKeySet(issuer: string, outbound: Outbound): JWTVerifyGetKey {
  return createRemoteJWKSet(configurationUrl(issuer), {
    // The metadata is fetched each time as well, because the URL of the keys can change.
    [customFetch]: async () => {
      const keysUrl = await discoverJwksUri(issuer, outbound);
      return Response.json((await fetchJson(keysUrl, outbound, 'keys')) ?? null);
    },
  });
}

async function discoverJwksUri(issuer: string, outbound: Outbound): Promise<URL> {
  const { jwks_uri: keys } = await fetchProviderConfiguration(issuer, outbound);
  const { success, data } = z.url({ protocol: /^https?$/ }).safeParse(keys);
  if (!success) throw issuerMismatch();
  return new URL(data);
}

/** Converts an error of jose: the token is rejected, or it could not be verified. */
function toAuthenticationError(error: unknown, claims: Claims): AppError {
  if (error instanceof errors.JWTExpired)
    return authenticationError('The token has expired.', { payload: error.payload, claims });
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason, payload } = error;
    if (reason !== 'check_failed') return invalidClaims(claim);
    if (claim === 'nbf') return authenticationError('The token is not valid yet.', { payload, claims });
    return authenticationError(
      claim === 'iss'
        ? 'The issuer of the token (iss) is not OIDC_ISSUER.'
        : 'The audience of the token (aud) is not OIDC_AUDIENCE.',
    );
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return authenticationError('The token is unsigned, or signed with an algorithm that is not supported.');
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return authenticationError(
      'The token does not name its signing key (kid), and the identity provider has several keys.',
    );
  }
  if (error instanceof errors.JOSEError && !isKeySetError(error)) {
    return authenticationError('The signature of the token is not by a key of the identity provider.');
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

function invalidClaims(...claims: string[]): AuthenticationError {
  return authenticationError(
    claims.map((claim) => `The claim ${claim} of the token is missing or invalid.`).join(' '),
  );
}

/** The details of a rejected token. */
interface FailureDetails {
  /** The payload, if its signature and its audience are valid, so that the identity is certain. */
  payload?: JWTPayload;
  claims?: Claims;
  remedy?: string;
}

const defaultRemedy =
  'Send the header "Authorization: Bearer <token>" with a new token of the identity provider.';

function authenticationError(message: string, details: FailureDetails = {}): AuthenticationError {
  const { payload, claims, remedy = defaultRemedy } = details;
  const identity = payload && claims && readClaims(payload, claims).data;
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
