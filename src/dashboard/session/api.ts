import { createClient, type Client as SseClient } from 'graphql-sse';
import { Client, cacheExchange, fetchExchange } from 'urql';
import { endpoint } from '../endpoint.ts';
import { fetchEvents } from './fetch-events.ts';

/** Clients of the GraphQL API that authenticate with one credential. */
export interface Api {
  client: Client;
  /**
   * Creates a client for subscriptions; the caller disposes of it. `variables` are read again at each connection attempt.
   *
   * @param onData called for each piece of data from the server, pings included
   */
  openEvents(onData: () => void): SseClient;
}

/**
 * Creates the clients.
 *
 * @param getSecret returns the API key or token for the next request
 * @param onUnauthenticated called when the server answers 401
 */
export function createApi(getSecret: () => Promise<string>, onUnauthenticated: () => void): Api {
  const authenticatedFetch: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set('authorization', `Bearer ${await getSecret()}`);
    headers.set('x-app-connections-consumer', 'dashboard');
    const response = await fetch(input, { ...init, headers, credentials: 'omit', redirect: 'error' });
    if (response.status === 401) onUnauthenticated();
    return response;
  };
  return {
    client: new Client({
      url: endpoint,
      exchanges: [cacheExchange, fetchExchange],
      fetch: authenticatedFetch,
      // Queries stay out of URLs.
      preferGetMethod: false,
    }),
    openEvents: (onData) =>
      createClient({
        url: endpoint,
        fetchFn: fetchEvents(authenticatedFetch, onData),
        retryAttempts: Number.POSITIVE_INFINITY,
        retry: waitForNetwork,
      }),
  };
}

/** Waits until the browser is online, with exponential backoff and jitter, so that a starting server is not overloaded. */
async function waitForNetwork(retries: number): Promise<void> {
  if (!navigator.onLine) await new Promise((resolve) => addEventListener('online', resolve, { once: true }));
  const ms = Math.min(30_000, 500 * 2 ** retries) * (0.5 + Math.random() / 2);
  await new Promise((resolve) => setTimeout(resolve, ms));
}
