import { randomBytes } from 'node:crypto';
import { fakeOrigin, lists, metadata, objects } from './fake-okta-organisation.ts';

/** A response of the fake Okta; `body` is sent as JSON. */
export interface FakeOktaResponse {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  body?: object;
}

/** An access token of the fake Okta. */
export interface FakeToken {
  clientId: string;
  scopes: readonly string[];
  /** Whether each request needs a proof. */
  isBound: boolean;
}

/** The part of a request that determines the response. */
export interface FakeOktaRequest {
  method: string;
  /** Path and query, as it stands in the request line. */
  path: string;
  /** The `Authorization` header. */
  authorization: string | undefined;
  /** The access token of a service app, if the request has a valid one. */
  token?: FakeToken | undefined;
}

const perMinute = 600;

/** Errors as in the examples of Okta's API description. */
const errors = {
  E0000006: { status: 403, summary: 'You do not have permission to perform the requested action' },
  E0000007: { status: 404, summary: 'Not found: Resource not found' },
  E0000009: { status: 503, summary: 'Internal Server Error' },
  E0000011: { status: 401, summary: 'Invalid token provided' },
  E0000022: { status: 405, summary: 'The endpoint does not support the provided HTTP method' },
  E0000047: { status: 429, summary: 'API call exceeded rate limit due to too many requests.' },
} as const;

/** The error codes of the fake Okta. */
export type OktaErrorCode = keyof typeof errors;

/** Builds an error response as in Okta's API description. */
export function oktaError(code: OktaErrorCode, resetAt?: Date): FakeOktaResponse {
  const { status, summary } = errors[code];
  return {
    status,
    headers: commonHeaders(code === 'E0000047' ? 0 : perMinute - 1, resetAt),
    body: {
      errorCode: code,
      errorSummary: summary,
      errorLink: code,
      errorId: `oae${randomBytes(16).toString('base64url')}`,
      errorCauses: [],
    },
  };
}

/** Token prefixes that lead to errors, for demonstrations. Every other token is valid. */
const demoTokens: readonly (readonly [string, OktaErrorCode])[] = [
  ['revoked', 'E0000011'],
  ['weak', 'E0000006'],
  ['limited', 'E0000047'],
  ['broken', 'E0000009'],
];

/** Responds like the Okta organisation `https://example.okta.com`. It ignores `search` and `filter`. */
export function respondAsOkta({
  method,
  path,
  authorization,
  token: accessToken,
}: FakeOktaRequest): FakeOktaResponse {
  const [pathname = '', query] = path.split('?', 2);
  if (pathname === '/.well-known/okta-organization') {
    return method === 'GET' ? ok(metadata) : oktaError('E0000022');
  }
  if (pathname === '/.well-known/openid-configuration')
    return respondToClientMetadata(new URLSearchParams(query).get('client_id') ?? '');
  if (pathname === '/api/v1/api-tokens/current') return respondToRevocation(method, authorization);
  const resource = findResource(pathname, new URLSearchParams(query));
  if (!resource) return oktaError('E0000007');
  if (accessToken) return respondToServiceApp(accessToken, method, pathname, resource);
  const token = apiTokenPattern.exec(authorization ?? '')?.[1];
  if (token === undefined || revokedTokens.has(token)) return oktaError('E0000011');
  if (method !== 'GET') return oktaError('E0000022');
  const demo = demoTokens.find(([prefix]) => token.startsWith(prefix));
  return demo ? oktaError(demo[1]) : ok(resource.body, resource.headers);
}

/** A client whose id begins with this does not exist. */
export const unknownClient = '0oaunknown';

function respondToClientMetadata(clientId: string): FakeOktaResponse {
  if (!clientId.startsWith(unknownClient))
    return ok({ issuer: fakeOrigin, token_endpoint: `${fakeOrigin}/oauth2/v1/token` });
  const summary = 'Invalid value for `client_id` parameter';
  return {
    status: 400,
    headers: { 'content-type': 'application/json' },
    body: {
      errorCode: 'invalid_client',
      errorSummary: summary,
      errorLink: 'invalid_client',
      errorCauses: [],
    },
  };
}

/** API tokens that were revoked, until the server ends. */
const revokedTokens = new Set<string>();

/** Revokes the API token of the request, as only the token itself can ask. */
function respondToRevocation(method: string, authorization: string | undefined): FakeOktaResponse {
  const token = apiTokenPattern.exec(authorization ?? '')?.[1];
  if (token === undefined || revokedTokens.has(token)) return oktaError('E0000011');
  if (method !== 'DELETE') return oktaError('E0000022');
  revokedTokens.add(token);
  return { status: 204, headers: commonHeaders(perMinute - 1) };
}

const apiTokenPattern = /^SSWS (\S+)$/;

interface Resource {
  body: object;
  headers?: Record<string, string>;
}

/** A client whose id begins with this has no admin role: it sees no users, and nothing else. */
const withoutRole = '0oanorole';

function respondToServiceApp(
  { clientId, scopes }: FakeToken,
  method: string,
  pathname: string,
  { body, headers }: Resource,
): FakeOktaResponse {
  if (method !== 'GET') return oktaError('E0000022');
  const [, name = ''] = /^\/api\/v1\/(\w+)/.exec(pathname) ?? [];
  const scope = name === 'org' ? 'okta.orgs' : `okta.${name}`;
  const isGranted = [`${scope}.read`, `${scope}.manage`].some((each) => scopes.includes(each));
  // Only people have this resource.
  if (!isGranted || pathname === '/api/v1/users/me') return oktaError('E0000006');
  if (!clientId.startsWith(withoutRole)) return ok(body, headers);
  return pathname === '/api/v1/users' ? ok([]) : oktaError('E0000006');
}

function findResource(pathname: string, parameters: URLSearchParams): Resource | undefined {
  if (Object.hasOwn(objects, pathname)) return { body: objects[pathname] as object };
  if (!Object.hasOwn(lists, pathname)) return undefined;
  const list = lists[pathname] as readonly object[];
  const start = Number(parameters.get('after') ?? 0) || 0;
  const end = start + (Number(parameters.get('limit')) || 200);
  const link = (after: number, relation: string) => {
    const query = new URLSearchParams([...parameters].filter(([name]) => name !== 'after'));
    if (after > 0) query.set('after', String(after));
    return `<${fakeOrigin}${pathname}?${query}>; rel="${relation}"`;
  };
  // The System Log has a next page always, because events are added.
  const next = pathname === '/api/v1/logs' ? Math.min(end, list.length) : end;
  const hasNext = pathname === '/api/v1/logs' || end < list.length;
  return {
    body: list.slice(start, end),
    headers: { link: [link(start, 'self'), ...(hasNext ? [link(next, 'next')] : [])].join(', ') },
  };
}

function ok(body: object, headers: Record<string, string> = {}): FakeOktaResponse {
  return {
    status: 200,
    headers: { ...commonHeaders(perMinute - 1), etag: 'W/"1234567890abcdef"', ...headers },
    body,
  };
}

function commonHeaders(remaining: number, resetAt = new Date(Date.now() + 60_000)): Record<string, string> {
  return {
    'content-type': 'application/json',
    'cache-control': 'no-cache, no-store',
    'x-okta-request-id': randomBytes(18).toString('base64url'),
    'x-rate-limit-limit': String(perMinute),
    'x-rate-limit-remaining': String(remaining),
    'x-rate-limit-reset': String(Math.ceil(resetAt.getTime() / 1000)),
  };
}
