import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { z } from 'zod';
import { Problem } from '../errors.ts';
import { type Outbound, OutboundError } from '../outbound/outbound.ts';
import { type Identity, type Scope, scopes } from './caller.ts';
import { SignInFailure, type Suspect } from './sign-in-failure.ts';

/** Which identity provider's tokens are accepted, and which of their claims say what. */
export interface OidcSettings {
  /** `iss` of its tokens, and where its configuration is found. */
  issuer: string;
  /** `aud` of the tokens that are for this server. */
  audience: string;
  orgClaim: string;
  scopeClaim: string;
  projectsClaim: string;
}

/** Verifies tokens, and says who they let in. */
export interface TokenVerifier {
  /**
   * @throws SignInFailure when the token lets nobody in
   * @throws Problem `UPSTREAM_UNREACHABLE` when the provider's keys cannot be had
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
export function looksLikeToken(text: string): boolean {
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(text);
}

/** Makes the verifier; the provider is first asked when the first token comes. */
export function createTokenVerifier(settings: OidcSettings, outbound: Outbound): TokenVerifier {
  const keys = createKeys(settings.issuer, outbound);
  const claims = claimsRule(settings);
  return {
    async verify(token) {
      const payload = await jwtVerify(token, keys, {
        issuer: settings.issuer,
        audience: settings.audience,
        algorithms,
        clockTolerance: clockSkewSeconds,
        requiredClaims: ['sub', 'exp'],
      }).then(
        (verified) => verified.payload,
        (error: unknown) => {
          throw whyNot(error, claims);
        },
      );
      const { success, data, error } = claims.safeParse(payload);
      if (!success) {
        const names = new Set(error.issues.map(({ path }) => String(path[0])));
        throw failure(`The token's claim ${[...names].join(' and ')} is missing or cannot be read.`);
      }
      return data;
    },
  };
}

/** A list as claims have it: an array, or words with spaces between. */
const list = z.union([z.array(z.string()), z.string().transform((text) => text.split(' ').filter(Boolean))]);

/** `sub` as OpenID Connect Core has it, section 2: at most 255 ASCII characters. */
const subject = z.string().regex(/^[\x20-\x7e]{1,255}$/);

/** Who a verified payload lets in. What the provider grants besides our scopes is not for us. */
function claimsRule({ orgClaim, scopeClaim, projectsClaim }: OidcSettings) {
  return z
    .object({
      sub: subject,
      exp: z.number(),
      [orgClaim]: z.guid().toLowerCase(),
      [scopeClaim]: list.optional(),
      [projectsClaim]: list.pipe(z.array(z.guid().toLowerCase()).max(1_000)).nullish(),
    })
    .transform((given) => {
      const claims: Readonly<Record<string, unknown>> = given;
      const granted = new Set(claims[scopeClaim] as string[] | undefined);
      return {
        orgId: claims[orgClaim] as string,
        keyId: null,
        subject: given.sub as string,
        scopes: scopes.filter((scope): scope is Scope => granted.has(scope)),
        projectIds: (claims[projectsClaim] as string[] | null | undefined) ?? null,
        expiresAt: new Date((given.exp as number) * 1_000),
      };
    });
}

/** The provider's keys, from where its configuration says they are; both are looked up again when they grow old. */
function createKeys(issuer: string, outbound: Outbound): JWTVerifyGetKey {
  let found: Promise<JWTVerifyGetKey> | undefined;
  const forget = (error: unknown): never => {
    found = undefined;
    throw error;
  };
  const discover = async (): Promise<JWTVerifyGetKey> => {
    const { jwks_uri: url } = await readConfiguration(issuer, outbound);
    return createRemoteJWKSet(new URL(url), {
      // Where the keys are may have changed too, once they cannot be had.
      [customFetch]: async (_, { headers }) => fetchVia(outbound, new URL(url), headers).catch(forget),
    });
  };
  return async (header, token) => {
    found ??= discover().catch(forget);
    return (await found)(header, token);
  };
}

/** OpenID Connect Discovery 1.0, section 4. */
async function readConfiguration(issuer: string, outbound: Outbound): Promise<{ jwks_uri: string }> {
  const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  const { status, body } = await outbound.get(url, { headers: { accept: 'application/json' } });
  if (status !== 200) throw new OutboundError('PROTOCOL', `its configuration was answered with ${status}`);
  // Of another issuer, the keys would be another's too.
  const rule = z.object({ issuer: z.literal(issuer), jwks_uri: z.url({ protocol: /^https?$/ }) });
  try {
    return rule.parse(JSON.parse(body));
  } catch {
    throw new OutboundError('PROTOCOL', 'its configuration is not that of OIDC_ISSUER');
  }
}

async function fetchVia(outbound: Outbound, url: URL, headers: Headers): Promise<Response> {
  const { status, body } = await outbound.get(url, { headers: { accept: headers.get('accept') ?? '*/*' } });
  if (status !== 200) throw new OutboundError('PROTOCOL', `its keys were answered with ${status}`);
  return new Response(body);
}

/** Why a token lets nobody in, or why nobody knows. */
function whyNot(error: unknown, claims: ReturnType<typeof claimsRule>): Problem {
  if (error instanceof errors.JWTExpired) return failure('The token has expired.', error.payload, claims);
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, payload } = error;
    if (claim === 'nbf') return failure('The token is not valid yet.', payload, claims);
    if (claim === 'iss') return failure('The token is of another issuer.');
    if (claim === 'aud') return failure('The token is for another audience.');
    return failure(`The token's claim ${claim} is missing or cannot be read.`);
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return failure('The token is signed in a way that is not accepted, or not at all.');
  }
  if (error instanceof OutboundError || isAboutKeys(error)) return unreachable(error);
  if (error instanceof errors.JOSEError) {
    return failure('The token is not signed by a key of the identity provider.');
  }
  throw error;
}

/** What jose says when the keys that it was given are none: it has no class for that. */
function isAboutKeys(error: unknown): boolean {
  return (
    error instanceof errors.JWKSInvalid ||
    error instanceof errors.JWKSTimeout ||
    (error instanceof errors.JOSEError && error.code === errors.JOSEError.code)
  );
}

/** With a payload: whose it is, is certain, because the provider has signed it for this server. */
function failure(
  message: string,
  payload?: JWTPayload,
  claims?: ReturnType<typeof claimsRule>,
): SignInFailure {
  const known = payload && claims?.safeParse(payload).data;
  const suspect: Suspect | undefined = known && { orgId: known.orgId, subject: known.subject };
  return new SignInFailure(message, {
    ...(suspect && { suspect }),
    remedy: 'Send the header "Authorization: Bearer <token>" with a new token of the identity provider.',
  });
}

function unreachable(error: unknown): Problem {
  const why = error instanceof OutboundError ? error.message : 'its keys cannot be read';
  return new Problem('UPSTREAM_UNREACHABLE', `The identity provider cannot be asked for its keys: ${why}.`, {
    remedy: 'Try again later, or use an API key; the token was not judged.',
  });
}
