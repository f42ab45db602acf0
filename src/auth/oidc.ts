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

/** Which identity provider's tokens are accepted, and which of their claims say what. */
export interface OidcSettings {
  /** `iss` of its tokens, and where its configuration is found. */
  issuer: string;
  /** `aud` of the tokens that are for this server. */
  audience: string;
  orgClaim: string;
  scopeClaim: string;
  projectsClaim: string;
  /** As whom the dashboard asks the provider for a token, and for which scopes. Absent: it does not. */
  client?: { id: string; scopes: string } | undefined;
}

/** Verifies tokens, and says who they let in. */
export interface TokenVerifier {
  /**
   * @throws AuthenticationError when the token lets nobody in
   * @throws AppError `UPSTREAM_UNREACHABLE` when the provider's keys cannot be had
   */
  verify(token: string): Promise<Identity & { keyId: null; expiresAt: Date }>;
}

/**
 * Only signatures that the provider alone can make: with HMAC, whoever has its public key could make them, and `none`
 * anybody.
 */
const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];

const clockSkewSeconds = 60;

/** What a token looks like, and no API key does: three parts of base64url, the last of which may be missing. */
export function isJwt(text: string): boolean {
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(text);
}

/** Makes the verifier; the provider is first asked when the first token comes. */
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
        const broken = error.issues.map(({ path }) => path[0]);
        const names = Object.entries(claims).filter(([part]) => broken.includes(part));
        throw invalidClaims(...names.map(([, claim]) => claim));
      }
      const flaw = findTokenDefect(protectedHeader, payload, {
        scopeClaim: settings.scopeClaim,
        clockSkewSeconds,
      });
      if (flaw) throw authenticationError(flaw.message, { payload, claims, remedy: flaw.remedy });
      return { ...data, keyId: null };
    },
  };
}

/** A list as claims have it: an array, or words with spaces between. */
const list = z.union([z.array(z.string()), z.string().transform((text) => text.split(' ').filter(Boolean))]);

/** The last second of the year 9999, beyond which moments cannot be written as others read them. */
const lastSecond = 253_402_300_799;

/** Who a payload lets in, by what its claims mean. */
const identity = z.object({
  orgId: z.guid().toLowerCase(),
  // As OpenID Connect Core has it, section 2: at most 255 ASCII characters.
  subject: z.string().regex(/^[\x20-\x7e]{1,255}$/),
  // What the provider grants besides our scopes is not for us.
  scopes: list.optional().transform((granted) => scopes.filter((scope) => granted?.includes(scope))),
  // A limit that cannot be read must not become none: only a token without the claim has none.
  projectIds: list
    .pipe(z.array(z.guid().toLowerCase()).max(1_000))
    .optional()
    .transform((ids) => ids ?? null),
  expiresAt: z
    .number()
    .max(lastSecond)
    .transform((seconds) => new Date(seconds * 1_000)),
});

/** The claim for each part of an identity. */
type Claims = Readonly<Record<keyof typeof identity.shape, string>>;

function claimNames({ orgClaim, scopeClaim, projectsClaim }: OidcSettings): Claims {
  return { orgId: orgClaim, subject: 'sub', scopes: scopeClaim, projectIds: projectsClaim, expiresAt: 'exp' };
}

function readClaims(payload: JWTPayload, claims: Claims) {
  const given = Object.entries(claims).map(([part, claim]) => [part, payload[claim]]);
  return identity.safeParse(Object.fromEntries(given));
}

/** The provider's keys: asked for anew when they are ten minutes old, and for a key that is not among them. */
function createKeySet(issuer: string, outbound: Outbound): JWTVerifyGetKey {
  return createRemoteJWKSet(configurationUrl(issuer), {
    // Where the keys are may have changed as well, so the configuration is read each time.
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

/** Why a token lets nobody in, or why nobody knows. */
function toAuthenticationError(error: unknown, claims: Claims): AppError {
  if (error instanceof errors.JWTExpired)
    return authenticationError('The token has expired.', { payload: error.payload, claims });
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason, payload } = error;
    if (reason !== 'check_failed') return invalidClaims(claim);
    if (claim === 'nbf') return authenticationError('The token is not valid yet.', { payload, claims });
    return authenticationError(
      claim === 'iss' ? 'The token is of another issuer.' : 'The token is for another audience.',
    );
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return authenticationError('The token is signed in a way that is not accepted, or not at all.');
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return authenticationError(
      'The token does not name the key that it is signed with (kid), and there are several.',
    );
  }
  if (error instanceof errors.JOSEError && !isKeySetError(error)) {
    return authenticationError('The token is not signed by a key of the identity provider.');
  }
  return providerUnreachable(error);
}

/** What jose says when the keys that it was given are none: it has no class for that. */
function isKeySetError(error: errors.JOSEError): boolean {
  return (
    error instanceof errors.JWKSInvalid ||
    error instanceof errors.JWKSTimeout ||
    error.code === errors.JOSEError.code
  );
}

function invalidClaims(...claims: string[]): AuthenticationError {
  return authenticationError(
    claims.map((claim) => `The token's claim ${claim} is missing or cannot be read.`).join(' '),
  );
}

interface FailureDetails {
  /** Whose it is, is certain, because the provider has signed it for this server. */
  payload?: JWTPayload;
  claims?: Claims;
  remedy?: string;
}

const defaultRemedy =
  'Send the header "Authorization: Bearer <token>" with a new token of the identity provider.';

function authenticationError(message: string, details: FailureDetails = {}): AuthenticationError {
  const { payload, claims, remedy = defaultRemedy } = details;
  const known = payload && claims && readClaims(payload, claims).data;
  const claimedIdentity: ClaimedIdentity | undefined = known && {
    orgId: known.orgId,
    subject: known.subject,
  };
  return new AuthenticationError(message, {
    ...(claimedIdentity && { claimedIdentity }),
    remedy,
  });
}

function providerUnreachable(error: unknown): AppError {
  const outbound = error instanceof OutboundError ? error : undefined;
  const why = outbound?.message ?? 'they cannot be read';
  const authority = outbound?.isAboutAuthority
    ? ' The operator of this server names a file with the certificate of the authority in NODE_EXTRA_CA_CERTS, and restarts the server.'
    : '';
  return new AppError('UPSTREAM_UNREACHABLE', `The identity provider's keys cannot be had: ${why}.`, {
    remedy: `Try again later, or use an API key; the token was not judged.${authority}`,
  });
}
