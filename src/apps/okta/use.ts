import type { ConnectionUse, UpstreamRateLimit } from '../use.ts';
import { readErrorCode } from './parse-response.ts';
import { rateLimitBuckets } from './rate-limit-buckets.ts';

/** What requests to Okta have in common, however they are authorized. */
export const oktaUse: Omit<ConnectionUse, 'createAuthorizer'> = {
  getOrigin({ public: { instanceUrl } }) {
    if (instanceUrl === undefined) throw new Error('Okta credentials were not checked');
    return new URL(instanceUrl);
  },
  describeError: ({ code, message }) => ({
    ...{ errorCode: code, errorSummary: message, errorLink: code },
    errorCauses: [],
  }),
  rejection: { status: 401, isConfirmedBy: (body) => readErrorCode(body) === 'E0000011' },
  rateLimits: {
    buckets: rateLimitBuckets,
    unlimited: ['/.well-known/'],
    tokenPath: '/oauth2/v1/token',
    read: readRateLimit,
  },
};

/** Requests through a connection with an API token. */
export const apiTokenUse: ConnectionUse = {
  ...oktaUse,
  createAuthorizer({ secret: { apiToken } }) {
    if (apiToken === undefined) throw new Error('Okta credentials were not checked');
    const authorization = { headers: { authorization: `SSWS ${apiToken.reveal()}` } };
    return { authorize: () => authorization };
  },
};

/**
 * Reads Okta's headers. Okta sometimes repeats them; the values are the same. Larger numbers are not Okta's, and GraphQL could
 * not return them.
 */
function readRateLimit(headers: Readonly<Record<string, string>>): UpstreamRateLimit | undefined {
  const read = (name: string, pattern: RegExp) => {
    const [digits] = pattern.exec(headers[`x-rate-limit-${name}`] ?? '') ?? [];
    return digits === undefined ? undefined : Number(digits);
  };
  const limit = read('limit', count);
  const remaining = read('remaining', count);
  const reset = read('reset', unixTime);
  if (limit === undefined || remaining === undefined || reset === undefined) return undefined;
  return { limit, remaining, resetAt: new Date(reset * 1_000) };
}

const count = /^\d{1,9}(?!\d)/;
/** In seconds. */
const unixTime = /^\d{1,10}(?!\d)/;
