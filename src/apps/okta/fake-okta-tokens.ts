import { hash, randomBytes, randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { decodeJwt, EmbeddedJWK, type JWTPayload, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import { fakeOrigin } from './fake-okta-organisation.ts';
import { type FakeOktaResponse, type FakeToken, unknownClient } from './fake-okta-responses.ts';

const lifetimeSeconds = 3_600;
/** The clock of the database, by which proofs are dated, can be ahead of the clock of this process. */
const clockToleranceSeconds = 30;
const tokens = new LRUCache<string, FakeToken>({ max: 1_000, ttl: lifetimeSeconds * 1_000 });
/** The ids of assertions and proofs that were used. */
const usedIds = new LRUCache<string, true>({ max: 10_000, ttl: lifetimeSeconds * 1_000 });
const nonce = randomUUID();

/** The prefixes of client ids that get an error, with the error. Every other client and its key are valid. */
const demoClients: readonly (readonly [string, string])[] = [
  [unknownClient, 'invalid_client'],
  ['0oaungranted', 'invalid_scope'],
  ['0oadenied', 'access_denied'],
];

/** Responds to a token request like Okta, with DPoP. The key of the client is not verified, because the fake Okta knows no keys. */
export async function respondToTokenRequest(
  headers: IncomingHttpHeaders,
  body: string,
): Promise<FakeOktaResponse> {
  const form = new URLSearchParams(body);
  if (form.get('grant_type') !== 'client_credentials') return oauthError('unsupported_grant_type');
  const assertion = readAssertion(form.get('client_assertion') ?? '');
  if (!isAcceptable(assertion)) return oauthError('invalid_client');
  const { iss: clientId = '', jti = '' } = assertion;
  const proof = headers.dpop === undefined ? undefined : await readProof(String(headers.dpop));
  if (headers.dpop !== undefined && proof?.nonce !== nonce) {
    return { ...oauthError('use_dpop_nonce'), headers: { ...oauthHeaders(), 'dpop-nonce': nonce } };
  }
  if (!useOnce(jti) || (proof && !useOnce(String(proof.jti)))) return oauthError('invalid_client');
  const [, error] = demoClients.find(([prefix]) => clientId.startsWith(prefix)) ?? [];
  if (error !== undefined) return oauthError(error);
  const scope = form.get('scope') ?? '';
  if (scope === '') return oauthError('invalid_scope');
  const token = randomBytes(32).toString('base64url');
  tokens.set(token, { clientId, scopes: scope.split(' '), isBound: proof !== undefined });
  return {
    status: 200,
    headers: oauthHeaders(),
    body: {
      token_type: proof ? 'DPoP' : 'Bearer',
      expires_in: lifetimeSeconds,
      access_token: token,
      scope,
    },
  };
}

/** Finds the access token of a request to the API; undefined if there is none, or if its proof is not valid for the request. */
export async function findFakeToken(
  { authorization, dpop }: IncomingHttpHeaders,
  method: string,
  path: string,
): Promise<FakeToken | undefined> {
  const [, scheme, text = ''] = /^(Bearer|DPoP) (\S+)$/i.exec(authorization ?? '') ?? [];
  const token = tokens.get(text);
  if (!token || token.isBound !== (scheme?.toLowerCase() === 'dpop')) return undefined;
  if (!token.isBound) return token;
  const proof = await readProof(String(dpop));
  const [pathname = ''] = path.split('?', 1);
  const isProven =
    proof?.htm === method &&
    proof.htu === fakeOrigin + pathname &&
    proof.ath === hash('sha256', text, 'base64url') &&
    useOnce(String(proof.jti));
  return isProven ? token : undefined;
}

function readAssertion(assertion: string): JWTPayload {
  try {
    return decodeJwt(assertion);
  } catch {
    return {};
  }
}

/** Whether a client has made the assertion for this server and for at most an hour. */
function isAcceptable({ iss, sub, aud, exp = 0 }: JWTPayload): boolean {
  const now = Date.now() / 1_000;
  const isForHere = [aud].flat().includes(`${fakeOrigin}/oauth2/v1/token`);
  return Boolean(iss) && iss === sub && isForHere && exp > now && exp <= now + 3_600;
}

async function readProof(proof: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const options = { typ: 'dpop+jwt', maxTokenAge: 300, clockTolerance: clockToleranceSeconds };
    return (await jwtVerify(proof, EmbeddedJWK, options)).payload;
  } catch {
    return undefined;
  }
}

function useOnce(id: string): boolean {
  if (usedIds.get(id)) return false;
  usedIds.set(id, true);
  return true;
}

function oauthHeaders(): Record<string, string> {
  return {
    'content-type': 'application/json',
    'cache-control': 'no-cache, no-store',
    'x-okta-request-id': randomBytes(18).toString('base64url'),
  };
}

function oauthError(error: string): FakeOktaResponse {
  const isUnauthenticated = error === 'invalid_client';
  return {
    status: isUnauthenticated ? 401 : 400,
    headers: oauthHeaders(),
    body: { error, error_description: 'The fake Okta refused the token request.' },
  };
}
