import { randomBytes } from 'node:crypto';
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  jwtVerify,
} from 'jose';
import { algorithms, type ProofVerifier } from './okta-dpop.ts';
import type { ServiceApp, ServiceApps } from './okta-service-apps.ts';
import type { Answer, OktaRequest } from './okta-standin-answers.ts';

/** An access token of the stand-in. */
export interface IssuedToken {
  clientId: string;
  scopes: readonly string[];
  /** The thumbprint of the key that its holder has to prove; absent for a bearer token. */
  thumbprint?: string | undefined;
  expiresAt: number;
}

/** What the endpoint shares with the resources. */
export interface TokenEndpointState {
  apps: ServiceApps;
  proofs: ProofVerifier;
  tokens: Map<string, IssuedToken>;
  nonce: string;
  /** The time of Okta, in milliseconds since the epoch. */
  getTime(): number;
}

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** In seconds; it cannot be changed in Okta. */
const lifetime = 3_600;
/** The longest time between now and the end of an assertion, in seconds. */
const maxAssertionLifetime = 3_600;

const usedAssertions = new Set<string>();

function refuse(status: number, error: string, description: string, headers?: Answer['headers']): Answer {
  return { status, content: { error, error_description: description }, ...(headers && { headers }) };
}

/** Answers `POST /oauth2/v1/token` as Okta's API description says. */
export async function answerTokenRequest(state: TokenEndpointState, request: OktaRequest): Promise<Answer> {
  const { method, url, body, headers } = request;
  if (method !== 'POST') return { status: 405 };
  if (headers['content-type']?.split(';', 1)[0] !== 'application/x-www-form-urlencoded' || url.search)
    return refuse(400, 'invalid_request', 'The request has no form.');
  const form = new URLSearchParams(body.toString());
  const repeated = [...form.keys()].find((name, index, names) => names.indexOf(name) !== index);
  if (repeated) return refuse(400, 'invalid_request', `The parameter ${repeated} is repeated.`);
  if (form.get('grant_type') !== 'client_credentials')
    return refuse(400, 'unsupported_grant_type', "The grant type in the request isn't supported.");
  const app = await authenticate(state, form, `${url.origin}${url.pathname}`);
  if ('status' in app) return app;
  const proof = await checkProof(state, app, request);
  if ('status' in proof) return proof;
  const scopes = form.get('scope')?.split(' ').filter(Boolean) ?? [];
  if (scopes.length === 0) return refuse(400, 'invalid_scope', 'No scopes were requested.');
  if (scopes.some((scope) => !app.scopes.includes(scope))) {
    return refuse(
      400,
      'invalid_scope',
      'One or more scopes are not configured for the authorization server resource.',
    );
  }
  return issue(state, { clientId: app.clientId, scopes, ...proof });
}

/** Authenticates the client by its assertion (RFC 7523, section 3). */
async function authenticate(
  { apps, getTime }: TokenEndpointState,
  form: URLSearchParams,
  audience: string,
): Promise<ServiceApp | Answer> {
  const invalid = (description: string) => refuse(401, 'invalid_client', description);
  const assertion = form.get('client_assertion');
  if (!assertion) return invalid('No client credentials found');
  if (form.get('client_assertion_type') !== assertionType)
    return refuse(400, 'invalid_request', 'The `client_assertion_type` is invalid.');
  const { kid } = decodeProtectedHeader(assertion);
  const { sub, iss, aud, jti, exp = 0, iat } = decodeJwt(assertion);
  const app = apps.find(sub ?? '');
  if (!app || iss !== sub) return invalid("Invalid value for 'client_id' parameter.");
  if (app.isActive === false) return invalid('The client is not active.');
  const keys = await apps.activeKeys(app);
  if (keys.length === 0) return invalid('The JWKSet for the client is not configured.');
  if (!keys.some((key) => key.kid === kid)) return invalid('The client_assertion JWT kid is invalid.');
  const now = getTime();
  try {
    await jwtVerify(assertion, createLocalJWKSet({ keys }), { algorithms, currentDate: new Date(now) });
  } catch (error) {
    if (error instanceof errors.JWTExpired) return invalid('The client_assertion token is expired.');
    return invalid('The client_assertion signature is invalid.');
  }
  if (aud !== audience)
    return invalid('The audience claim for client_assertion must be the endpoint invoked for the request.');
  if (exp > now / 1_000 + maxAssertionLifetime)
    return invalid('The client_assertion token expires too late.');
  if (iat !== undefined && iat > now / 1_000 + 300)
    return invalid('The client_assertion token was issued in the future.');
  if (typeof jti !== 'string' || usedAssertions.has(jti))
    return invalid('The client_assertion token was used already.');
  usedAssertions.add(jti);
  return app;
}

/** Checks the proof of possession, which a client may send that need not. */
async function checkProof(
  { proofs, apps, nonce, getTime }: TokenEndpointState,
  app: ServiceApp,
  { method, url, headers }: OktaRequest,
): Promise<{ thumbprint?: string } | Answer> {
  const { dpop } = headers;
  if (app.requiresDpop === false || typeof dpop !== 'string') {
    if (app.requiresDpop === false) return {};
    return refuse(400, 'invalid_dpop_proof', 'The DPoP proof JWT header is missing.');
  }
  const proof = await proofs.verify(dpop, { method, url, now: getTime() });
  if (typeof proof === 'string') return refuse(400, 'invalid_dpop_proof', proof);
  if (proof.nonce !== nonce) {
    const description = 'Authorization server requires nonce in DPoP proof.';
    return refuse(400, 'use_dpop_nonce', description, { 'dpop-nonce': nonce });
  }
  const ownKeys = await Promise.all((await apps.activeKeys(app)).map((key) => calculateJwkThumbprint(key)));
  if (ownKeys.includes(proof.thumbprint))
    return refuse(400, 'invalid_dpop_proof', 'The key of the DPoP proof JWT is the key of the client.');
  return { thumbprint: proof.thumbprint };
}

function issue({ tokens, getTime }: TokenEndpointState, token: Omit<IssuedToken, 'expiresAt'>): Answer {
  // As long as Okta's tokens, which are JWTs.
  const value = [36, 400, 256].map((bytes) => randomBytes(bytes).toString('base64url')).join('.');
  tokens.set(value, { ...token, expiresAt: getTime() + lifetime * 1_000 });
  return {
    status: 200,
    headers: { 'cache-control': 'no-cache, no-store' },
    content: {
      token_type: token.thumbprint === undefined ? 'Bearer' : 'DPoP',
      expires_in: lifetime,
      access_token: value,
      scope: token.scopes.join(' '),
    },
  };
}
