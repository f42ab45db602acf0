import { setTimeout } from 'node:timers/promises';
import { z } from 'zod';
import { currentTimeMs } from '../../common/clock.ts';
import { StartupError } from '../../common/errors.ts';
import { isLoopbackHost } from '../../common/loopback.ts';
import type { Secret } from '../../common/secret.ts';
import { createOutbound } from '../../outbound/create-outbound.ts';
import { hostPort } from '../../outbound/host-port.ts';
import { parseJson } from '../../outbound/json.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';

const apiError = z.looseObject({
  message: z.string(),
  extensions: z.looseObject({
    code: z.string(),
    remedy: z.string().nullish(),
    retryAt: z.string().nullish(),
    issues: z
      .array(z.looseObject({ path: z.array(z.union([z.string(), z.number()])), message: z.string() }))
      .nullish(),
  }),
});

/** An error in the response of the API. */
export type ApiError = z.infer<typeof apiError>;

const apiResponse = z.looseObject({ data: z.unknown().optional(), errors: z.array(apiError).optional() });

/** The API of a running server, with the API key of an organisation. */
export interface Api {
  /**
   * Sends a GraphQL request.
   *
   * @returns the data, or the first error
   * @throws StartupError if the server does not answer as it should, or does not know the API key
   */
  request<Data>(query: string, variables: object): Promise<{ data: Data } | { error: ApiError }>;
  close(): Promise<void>;
}

const timeoutMs = 60_000;
const maxBytes = 1024 * 1024;
/** The longest wait for a rate limit, in milliseconds. */
const maxWaitMs = 120_000;
const maxAttempts = 5;

/**
 * Opens the API of a server.
 *
 * @throws StartupError if requests would be readable on the network
 */
export function openApi(url: URL, apiKey: Secret): Api {
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopbackHost(url.hostname)))
    throw new StartupError(
      '--url must begin with https://, because tokens are sent to it; http:// is for this machine',
    );
  const endpoint = new URL(`${url.href.replace(/\/+$/, '')}/graphql`);
  const client = createOutbound({ trustedHosts: new Set([hostPort(endpoint)]), timeoutMs, maxBytes });
  const send = async (body: string) => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${apiKey.reveal()}` };
    const response = await client.post(endpoint, { headers, body }).catch((error: unknown) => {
      if (!(error instanceof OutboundError)) throw error;
      throw new StartupError(
        `${endpoint.host}: ${error.message}; run the command again, which skips what is done`,
      );
    });
    const parsed = apiResponse.safeParse(parseJson(response.body));
    if (parsed.success && (parsed.data.errors || parsed.data.data)) return parsed.data;
    throw new StartupError(
      `${endpoint.host} answers with status ${response.status}, and not as this server; check --url`,
    );
  };
  return {
    async request<Data>(query: string, variables: object) {
      // Secrets in variables are revealed only here.
      const body = JSON.stringify({ query, variables: revealSecrets(variables) });
      for (let attempt = 1; ; attempt += 1) {
        const { data, errors } = await send(body);
        const [error] = errors ?? [];
        if (!error) return { data: data as Data };
        const { code, retryAt } = error.extensions;
        if (code === 'UNAUTHENTICATED' || code === 'ORGANISATION_DISABLED')
          throw new StartupError(error.message);
        const waitMs = retryAt == null ? Number.NaN : Date.parse(retryAt) - currentTimeMs();
        const isLimit = code === 'RATE_LIMITED' || code === 'UPSTREAM_RATE_LIMITED';
        if (!isLimit || !(waitMs <= maxWaitMs) || attempt === maxAttempts) return { error };
        await setTimeout(Math.max(waitMs, 0));
      }
    },
    close: () => client.close(),
  };
}

function revealSecrets(value: object): object {
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      if (typeof member !== 'object' || member === null) return [name, member];
      return [name, 'reveal' in member ? (member as Secret).reveal() : revealSecrets(member)];
    }),
  );
}
