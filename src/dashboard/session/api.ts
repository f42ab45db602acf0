import { createClient, type Client as SseClient } from 'graphql-sse';
import { Client, cacheExchange, fetchExchange } from 'urql';
import { endpoint } from '../endpoint.ts';
import { fetchEvents } from './fetch-events.ts';

/** The GraphQL API, asked with one credential. */
export interface Api {
  client: Client;
  /**
   * Makes a client for subscriptions, to be disposed of. `variables` are read anew at each attempt to connect.
   *
   * @param onHeard called when something of the server is heard over an open subscription, be it a ping
   */
  openEvents(onHeard: () => void): SseClient;
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
      url: endpoint,
      exchanges: [cacheExchange, fetchExchange],
      fetch: asked,
      // What is asked stays out of addresses.
      preferGetMethod: false,
    }),
    openEvents: (onHeard) =>
      createClient({
        url: endpoint,
        fetchFn: fetchEvents(asked, onHeard),
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
