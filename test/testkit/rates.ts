import { parseRange } from '../../src/http/client-ip.ts';
import type { Rates } from '../../src/rate-limits/defaults.ts';
import { startTestServer, type TestServer, type TestServerOptions, type WireError } from './server.ts';

/** A limit that no test reaches. */
const plenty = { points: 100_000, leaseSize: 1_000 };

/** The given rate limits, and no other limits. */
function ratesWith(given: Partial<Rates>): Partial<Rates> {
  const all = {
    ...{ caller: plenty, organisation: plenty, unauthenticated: plenty, failedAuthentication: plenty },
    ...{ outbound: plenty, outboundOfOrganisation: plenty },
    ...{ change: plenty, changeOfOrganisation: plenty, subscriptions: 1_000 },
  };
  return { ...all, ...given };
}

/** Starts a server with these rate limits only, which trusts X-Forwarded-For from loopback. */
export async function startRateLimitedServer(
  given: Partial<Rates>,
  options: TestServerOptions = {},
): Promise<TestServer> {
  const loopback = ['127.0.0.1', '::1']
    .map((text) => parseRange(text))
    .filter((range) => range !== undefined);
  const config = { rateLimits: true, trustedProxies: loopback, ...options.config };
  return startTestServer({ ...options, config, rates: ratesWith(given) });
}

/** The members of a response that depend on rate limits. */
export interface RateLimitResponse {
  status: number;
  /** Seconds. */
  retryAfter: string | null;
  code: string | undefined;
  retryAt: string | undefined;
  remedy: string | undefined;
  data: unknown;
  requestId: string | null;
}

/** The API key and the address of a client. */
export interface RateLimitClient {
  apiKey?: string | undefined;
  address?: string | undefined;
}

const buildHeaders = ({ apiKey, address }: RateLimitClient) => ({
  ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
  ...(address !== undefined && { 'x-forwarded-for': address }),
});

/** Sends a GraphQL request, by default the smallest one. */
export async function sendGraphQL(
  { graphqlUrl }: TestServer,
  asker: RateLimitClient,
  query = '{ appConnections(first: 1) { pageInfo { endCursor } } }',
  variables: Record<string, unknown> = {},
): Promise<RateLimitResponse> {
  const response = await fetch(graphqlUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...buildHeaders(asker) },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await response.json()) as { data?: unknown; errors?: WireError[] };
  return { ...parseOutcome(response), ...pick(errors?.[0]?.extensions), data };
}

/** The same over REST. */
export async function sendRest({ url }: TestServer, asker: RateLimitClient): Promise<RateLimitResponse> {
  const response = await fetch(`${url}/api/v1/app-connections?limit=1`, { headers: buildHeaders(asker) });
  const body = (await response.json()) as Record<string, string>;
  return { ...parseOutcome(response), ...pick(body), data: body };
}

/** Sends requests one after another and returns their codes. */
export async function collectCodes(
  count: number,
  ask: (index: number) => Promise<RateLimitResponse>,
): Promise<string[]> {
  const codes: string[] = [];
  for (let index = 0; index < count; index += 1) codes.push((await ask(index)).code ?? 'OK');
  return codes;
}

function parseOutcome({ status, headers }: Response) {
  return { status, retryAfter: headers.get('retry-after'), requestId: headers.get('x-request-id') };
}

function pick(details: { code?: string; retryAt?: string; remedy?: string } = {}) {
  return { code: details.code, retryAt: details.retryAt, remedy: details.remedy };
}
