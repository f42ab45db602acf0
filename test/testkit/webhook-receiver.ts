import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type GraphQLClient, gql } from 'graphql-request';
import { Webhook } from 'standardwebhooks';
import { until } from './process.ts';

/** A request that a receiver has got. */
export interface ReceivedWebhook {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** The members of the body. */
  event: { type: string; data: { connection: { id: string } | null; [name: string]: unknown } };
}

/** A receiver of webhooks. */
export interface WebhookReceiver extends AsyncDisposable {
  url: string;
  hostPort: string;
  /** Every request so far, also those that were not accepted. */
  received: ReceivedWebhook[];
  /** Sets how it answers. By default, it accepts everything. */
  behave(answer: (request: ReceivedWebhook, response: ServerResponse) => void): void;
  /** Waits for a number of requests to a path. */
  waitFor(count: number, path?: string): Promise<ReceivedWebhook[]>;
}

export async function startReceiver(): Promise<WebhookReceiver> {
  const received: ReceivedWebhook[] = [];
  const accept = (_: ReceivedWebhook, response: ServerResponse) => response.writeHead(204).end();
  let answer: Parameters<WebhookReceiver['behave']>[0] = accept;
  const http = createServer(async (request, response) => {
    const body = await text(request);
    const webhook = { path: request.url ?? '', headers: request.headers, body, event: JSON.parse(body) };
    received.push(webhook);
    answer(webhook, response);
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const hostPort = `127.0.0.1:${(http.address() as AddressInfo).port}`;
  return {
    url: `http://${hostPort}`,
    hostPort,
    received,
    behave: (next) => {
      answer = next;
    },
    waitFor: (count, path) =>
      until(`the receiver has got ${count} requests`, () => {
        const found = received.filter((each) => path === undefined || each.path === path);
        return found.length >= count ? found : undefined;
      }),
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

/** Verifies the signature of a request as the receivers' package does. Throws if it is invalid. */
export function verifyWebhook(secret: string, { body, headers }: ReceivedWebhook): void {
  new Webhook(secret).verify(body, headers as Record<string, string>);
}

/** The selected fields of a message. */
export interface MessageFields {
  id: string;
  webhookId: string;
  type: string;
  connectionId: string | null;
  status: string;
  nextAttemptAt: string | null;
  attempts: { at: string; durationMs: number; status: number | null; error: string | null }[];
}

/** Creates an endpoint, and returns its id and its secret. */
export async function createEndpoint(
  client: GraphQLClient,
  input: Record<string, unknown>,
): Promise<{ id: string; secret: string }> {
  const mutation = gql`
    mutation CreateEndpoint($input: CreateWebhookEndpointInput!) {
      created: createWebhookEndpoint(input: $input) { endpoint { id } secret }
    }
  `;
  const { created } = await client.request<{ created: { endpoint: { id: string }; secret: string } }>(
    mutation,
    { input },
  );
  return { id: created.endpoint.id, secret: created.secret };
}

/** The messages of an endpoint, oldest first. */
export async function listMessages(client: GraphQLClient, endpointId: string): Promise<MessageFields[]> {
  const query = gql`
    query Messages($endpointId: UUID!) {
      webhookMessages(endpointId: $endpointId, first: 100) {
        nodes {
          id webhookId type connectionId status nextAttemptAt
          attempts { at durationMs status error }
        }
      }
    }
  `;
  const { webhookMessages } = await client.request<{ webhookMessages: { nodes: MessageFields[] } }>(query, {
    endpointId,
  });
  return webhookMessages.nodes.reverse();
}
