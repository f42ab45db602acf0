import type { JWTHeaderParameters, JWTPayload } from 'jose';
import { currentTimeMs } from '../common/clock.ts';

/** Why a token is rejected although its signature is valid, and the remedy. */
export interface TokenDefect {
  message: string;
  remedy: string;
}

/** The maximum lifetime of a token in seconds: a day, which is the default of Auth0 and the maximum of Okta. */
const maxLifetimeSeconds = 86_400;

/** Claims that only ID tokens have (OpenID Connect Core 1.0, sections 2 and 3.3.2.11). */
const idTokenClaims = ['nonce', 'at_hash', 'c_hash', 's_hash'];

/**
 * Checks that a token with a valid signature is a bearer access token with a bounded lifetime. The provider signs ID tokens
 * and logout tokens with the same keys, and the audience alone does not distinguish them.
 *
 * @param scopeClaim the claim with the scopes
 * @param clockSkewSeconds the tolerated difference between the clocks
 */
export function findTokenDefect(
  header: JWTHeaderParameters,
  payload: JWTPayload,
  { scopeClaim, clockSkewSeconds }: { scopeClaim: string; clockSkewSeconds: number },
): TokenDefect | undefined {
  if (!isAccessToken(header, payload, scopeClaim)) {
    return {
      message: 'The token is not an access token.',
      remedy:
        'Send an access token: a JWT of type at+jwt (RFC 9068), or one with scopes and without the claims of an ID token.',
    };
  }
  if (payload.cnf !== undefined) {
    return {
      message: 'The token is bound to a key (cnf). This server does not support proof of possession.',
      remedy: 'Configure the identity provider to issue bearer tokens, without DPoP and mutual TLS.',
    };
  }
  const { iat, exp = 0 } = payload;
  const now = Math.floor(currentTimeMs() / 1_000);
  if (iat !== undefined && iat > now + clockSkewSeconds) {
    return {
      message: 'The time of issue of the token (iat) is in the future.',
      remedy: 'Synchronise the clocks of this server and of the identity provider.',
    };
  }
  if (exp - Math.min(iat ?? now, now) > maxLifetimeSeconds + clockSkewSeconds) {
    return {
      message: 'The lifetime of the token exceeds 24 hours.',
      remedy: 'Configure the identity provider to issue tokens that expire within 24 hours.',
    };
  }
  return undefined;
}

/** RFC 9068 defines a type for access tokens. For providers that do not set it, the claims decide. */
function isAccessToken({ typ }: JWTHeaderParameters, payload: JWTPayload, scopeClaim: string): boolean {
  // A security event token (RFC 8417, section 2.2), such as a logout token.
  if (payload.events !== undefined) return false;
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : typ;
  if (type === 'at+jwt') return true;
  if (type !== undefined && type !== 'jwt') return false;
  // Keycloak sets `typ`, Amazon Cognito sets `token_use`.
  if (payload.typ !== undefined) return String(payload.typ).toLowerCase() === 'bearer';
  if (payload.token_use !== undefined) return payload.token_use === 'access';
  return payload[scopeClaim] !== undefined && !idTokenClaims.some((claim) => payload[claim] !== undefined);
}
