import { createClient, type Client as SseClient } from 'graphql-sse';
import { Client, cacheExchange, fetchExchange } from 'urql';

/** The GraphQL API, asked with one credential. */
export interface Api {
  client: Client;
  /** For subscriptions. `variables` are read anew at each attempt to connect. */
  events: SseClient;
}

/**
 * @param secret what to send with a request that is sent now
 * @param onRefused called when the server no longer lets the credential in
 */
export function createApi(secret: () => Promise<string>, onRefused: () => void): Api {
  const asked: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set('authorization', `Bearer ${await secret()}`);
    const response = await fetch(input, { ...init, headers, credentials: 'omit', redirect: 'error' });
    if (response.status === 401) onRefused();
    return response;
  };
  return {
    client: new Client({
      url: '/graphql',
      exchanges: [cacheExchange, fetchExchange],
      fetch: asked,
      // What is asked stays out of addresses.
      preferGetMethod: false,
    }),
    events: createClient({
      url: '/graphql',
      fetchFn: asked,
      retryAttempts: Number.POSITIVE_INFINITY,
      retry: waitForNetwork,
    }),
  };
}

/** Until the browser is online, and a little longer each time, so that a server that is starting is not overrun. */
async function waitForNetwork(retries: number): Promise<void> {
  if (!navigator.onLine) await new Promise((resolve) => addEventListener('online', resolve, { once: true }));
  const ms = Math.min(30_000, 500 * 2 ** retries) * (0.5 + Math.random() / 2);
  await new Promise((resolve) => setTimeout(resolve, ms));
}
