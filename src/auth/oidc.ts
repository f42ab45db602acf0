import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { z } from 'zod';
import type { Identity } from '../identity/caller.ts';
import type { Outbound } from '../outbound/outbound.ts';
import { findTokenDefect } from './access-token.ts';
import { fetchJson, fetchProviderMetadata, invalidMetadata, metadataUrl } from './oidc-discovery.ts';
import { type ClaimSettings, claimNames, parseIdentity } from './token-claims.ts';
import { invalidClaims, tokenRejected, toTokenError } from './token-errors.ts';

/** The identity provider whose tokens are accepted, and the names of their claims. */
export interface OidcSettings extends ClaimSettings {
  /** The `iss` claim of its tokens, and the base URL of its metadata. */
  issuer: string;
  /** The `aud` claim of tokens for this server. */
  audience: string;
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
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
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
        throw toTokenError(error, claims);
      });
      const { success, data, error } = parseIdentity(payload, claims);
      if (!success) {
        const invalidFields = new Set(error.issues.map(({ path }) => path[0]));
        throw invalidClaims(
          ...Object.entries(claims).flatMap(([field, claim]) => (invalidFields.has(field) ? [claim] : [])),
        );
      }
      const defect = findTokenDefect(protectedHeader, payload, {
        scopeClaim: settings.scopeClaim,
        clockSkewSeconds,
      });
      if (defect) throw tokenRejected(defect.message, { payload, claims, remedy: defect.remedy });
      return { ...data, keyId: null };
    },
  };
}

/** Creates the key set of the provider. It is fetched again after ten minutes, and if a token names an unknown key. */
function createKeySet(issuer: string, outbound: Outbound): JWTVerifyGetKey {
  return createRemoteJWKSet(metadataUrl(issuer), {
    // The metadata is fetched each time as well, because the URL of the keys can change.
    [customFetch]: async () => {
      const keysUrl = await discoverJwksUri(issuer, outbound);
      return Response.json((await fetchJson(keysUrl, outbound, 'keys')) ?? null);
    },
  });
}

async function discoverJwksUri(issuer: string, outbound: Outbound): Promise<URL> {
  const { jwks_uri: keys } = await fetchProviderMetadata(issuer, outbound);
  const { success, data } = z.url({ protocol: /^https?$/ }).safeParse(keys);
  if (!success) throw invalidMetadata();
  return new URL(data);
}
