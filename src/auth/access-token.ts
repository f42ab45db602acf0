import type { JWTHeaderParameters, JWTPayload } from 'jose';

/** Why a token of the provider is not taken, and what to do about it. */
export interface TokenDefect {
  message: string;
  remedy: string;
}

/** The longest time that a token may be good for, in seconds: a day, as the default of Auth0 and the most of Okta. */
export const maxLifetimeSeconds = 86_400;

/** What only ID tokens have (OpenID Connect Core 1.0, sections 2 and 3.3.2.11). */
const idTokenClaims = ['nonce', 'at_hash', 'c_hash', 's_hash'];

/**
 * What a genuine token is besides an access token that whoever has it may use, and for how long. The provider signs ID
 * tokens, logout tokens and more with the same keys, and an audience alone does not tell them apart.
 *
 * @param scopeClaim the claim that has the scopes
 * @param clockSkewSeconds by how much the clocks may differ
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
        'Send an access token: of type at+jwt (RFC 9068), or a JWT with scopes and nothing of an ID token.',
    };
  }
  if (payload.cnf !== undefined) {
    return {
      message: 'The token is bound to a key (cnf), and this server checks no proofs of possession.',
      remedy: 'Have the identity provider issue a bearer token, without DPoP and without mutual TLS.',
    };
  }
  const { iat, exp = 0 } = payload;
  const now = Math.floor(Date.now() / 1_000);
  if (iat !== undefined && iat > now + clockSkewSeconds) {
    return {
      message: 'The token was issued at a time that is still to come.',
      remedy: 'Set the clocks of this server and of the identity provider.',
    };
  }
  if (exp - Math.min(iat ?? now, now) > maxLifetimeSeconds + clockSkewSeconds) {
    return {
      message: 'The token is good for more than 24 hours.',
      remedy: 'Have the identity provider issue tokens that expire within 24 hours.',
    };
  }
  return undefined;
}

/** RFC 9068 has a type for access tokens. Of those of providers that do not use it, what the claims say has to do. */
function isAccessToken({ typ }: JWTHeaderParameters, payload: JWTPayload, scopeClaim: string): boolean {
  // RFC 8417, section 2.2: logout tokens, too, are of this kind.
  if (payload.events !== undefined) return false;
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : typ;
  if (type === 'at+jwt') return true;
  if (type !== undefined && type !== 'jwt') return false;
  // Keycloak, and Amazon Cognito.
  if (payload.typ !== undefined) return String(payload.typ).toLowerCase() === 'bearer';
  if (payload.token_use !== undefined) return payload.token_use === 'access';
  return payload[scopeClaim] !== undefined && !idTokenClaims.some((claim) => payload[claim] !== undefined);
}
