import { randomBytes } from 'node:crypto';

/** A response of the fake Okta; `body` is sent as JSON. */
export interface FakeOktaResponse {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: object;
}

/** The part of a request that determines the response. */
export interface FakeOktaRequest {
  method: string;
  /** Path and query, as it stands in the request line. */
  path: string;
  /** The `Authorization` header. */
  authorization: string | undefined;
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

/** Responds like the Okta organisation `https://example.okta.com`. */
export function respondAsOkta({ method, path, authorization }: FakeOktaRequest): FakeOktaResponse {
  const [pathname] = path.split('?', 1);
  if (pathname === '/.well-known/okta-organization') {
    return method === 'GET' ? ok(organisation) : oktaError('E0000022');
  }
  const resource = resources.get(pathname);
  if (!resource) return oktaError('E0000007');
  const token = /^SSWS (\S+)$/.exec(authorization ?? '')?.[1];
  if (token === undefined) return oktaError('E0000011');
  if (method !== 'GET') return oktaError('E0000022');
  const demo = demoTokens.find(([prefix]) => token.startsWith(prefix));
  return demo ? oktaError(demo[1]) : ok(resource);
}

function ok(body: object): FakeOktaResponse {
  return { status: 200, headers: { ...commonHeaders(perMinute - 1), etag: 'W/"1234567890abcdef"' }, body };
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

const organisation = {
  id: '00o5rb5mt2H3d1TJd0h7',
  pipeline: 'idx',
  _links: { organization: { href: 'https://example.okta.com' } },
};

const administrator = {
  id: '00ub0oNGTSWTBKOLGLNR',
  status: 'ACTIVE',
  created: '2013-06-24T16:39:18.000Z',
  activated: '2013-06-24T16:39:19.000Z',
  statusChanged: '2013-06-24T16:39:19.000Z',
  lastLogin: '2013-06-24T17:39:19.000Z',
  lastUpdated: '2013-07-02T21:36:25.344Z',
  passwordChanged: '2013-07-02T21:36:25.344Z',
  type: { id: 'otyfnly5cQjJT9PnR0g4' },
  profile: {
    firstName: 'Ada',
    lastName: 'Admin',
    login: 'ada.admin@example.com',
    email: 'ada.admin@example.com',
    secondEmail: null,
    mobilePhone: null,
  },
  credentials: { provider: { type: 'OKTA', name: 'OKTA' } },
  _links: { self: { href: 'https://example.okta.com/api/v1/users/00ub0oNGTSWTBKOLGLNR' } },
};

const everyone = {
  id: '00gak46y5hydV6NdM0g4',
  created: '2013-06-24T16:39:18.000Z',
  lastUpdated: '2013-06-24T16:39:18.000Z',
  lastMembershipUpdated: '2013-06-24T16:39:18.000Z',
  objectClass: ['okta:user_group'],
  type: 'BUILT_IN',
  profile: { name: 'Everyone', description: 'All users in your organization' },
  _links: { users: { href: 'https://example.okta.com/api/v1/groups/00gak46y5hydV6NdM0g4/users' } },
};

/** The resources by path: one user, who is in one group. */
const resources: ReadonlyMap<string | undefined, object> = new Map<string, object>([
  ['/api/v1/users/me', administrator],
  ['/api/v1/users', [administrator]],
  [`/api/v1/users/${administrator.id}`, administrator],
  [`/api/v1/users/${administrator.id}/groups`, [everyone]],
  ['/api/v1/groups', [everyone]],
  [`/api/v1/groups/${everyone.id}`, everyone],
  [`/api/v1/groups/${everyone.id}/users`, [administrator]],
]);
