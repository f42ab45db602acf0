import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, sendOperation } from '../peers/client.ts';
import { withClient } from '../peers/databases.ts';
import type { Fixture, Organisation, Running } from '../peers/fixture.ts';
import type { Rounds } from '../peers/rounds.ts';
import { latencyQuantile, median, table } from '../peers/summary.ts';
import { addEvents, type Trail } from './add-events.ts';

/** The events of each organisation whose deliveries are counted. */
const eventCount = 10_000;
/** The events of the organisation whose receiver hangs, and its endpoints. */
const floodCount = 50_000;
const floodEndpoints = 8;
/** The organisations that get events at the same time. */
const manyOrganisations = 8;
/** The changes whose events are timed. */
const timedCount = 200;
/** The pause between two of them, in milliseconds. */
const pauseMs = 20;

/**
 * Measures deliveries of webhooks to a receiver on this machine: how many a second, the time from the response to a create until
 * its event arrives, and the same while another organisation has 50,000 events for a receiver that hangs.
 */
export async function measureWebhooks(fixture: Fixture, { rounds }: Rounds): Promise<string> {
  await using receiver = await startReceiver();
  const database = await fixture.databases.copy('webhooks');
  const environment = {
    ...fixture.settings,
    TRUSTED_INSTANCE_HOSTS: `${fixture.settings.TRUSTED_INSTANCE_HOSTS},${new URL(receiver.url).host}`,
    WEBHOOK_INTERVAL_MS: '1000',
  };
  await using server = await fixture.serve('webhooks', database, { environment });
  const [first, quiet, ...others] = fixture.organisations;
  if (!first || !quiet) throw new Error('There are too few organisations.');
  const trail = { database, environment: { ...environment, DATABASE_URL: database } };
  const many = others.slice(0, manyOrganisations);
  const throughput = [
    ['one endpoint', await measureThroughput(server, receiver, trail, [first], rounds)],
    [
      `an endpoint of each of ${many.length} organisations`,
      await measureThroughput(server, receiver, trail, many, rounds),
    ],
  ] as const;

  const own = clientOf(server, quiet);
  await createEndpoint(own, `${receiver.url}/timed`);
  const idle = await timeEvents(fixture, own, receiver);
  await hang(server, receiver, trail, first);
  const flooded = await timeEvents(fixture, own, receiver);
  return [
    table(
      ['to a receiver on this machine', 'deliveries/s, median', 'slowest', 'fastest', 'target'],
      throughput.map(([name, rates]) => [
        name,
        ...[median(rates), Math.min(...rates), Math.max(...rates)].map((rate) => rate.toFixed(0)),
        '≥ 1000',
      ]),
    ),
    table(
      ['from the response to a create to its event', 'events', 'p50 ms', 'p99 ms', 'max ms', 'target'],
      [
        ['nothing else to deliver', idle, 'p50 < 500'] as const,
        [
          `another organisation has ${floodCount} events for a receiver that hangs`,
          flooded,
          'max < 2000',
        ] as const,
      ].map(([name, latencies, target]) => [
        name,
        `${latencies.length}`,
        ...[0.5, 0.99, 0.999_999].map((share) => latencyQuantile(share, { latencies }).toFixed(0)),
        target,
      ]),
    ),
  ].join('\n\n');
}

interface Receiver extends AsyncDisposable {
  url: string;
  /** Waits until it has got a number of requests, from now on, at a path. Returns the times of the first and the last. */
  expect(path: string, count: number): Promise<{ firstAt: number; lastAt: number }>;
  /** The time at which the event of a connection arrived. */
  arrivalOf(connectionId: string): Promise<number>;
}

/** Accepts everything, except at `/hangs`, where it never answers. */
async function startReceiver(): Promise<Receiver> {
  const expected = new Map<
    string,
    { left: number; firstAt?: number; done(times: { firstAt: number; lastAt: number }): void }
  >();
  const arrivals = new Map<string, PromiseWithResolvers<number>>();
  const getArrival = (id: string) => {
    const arrival = arrivals.get(id) ?? Promise.withResolvers<number>();
    arrivals.set(id, arrival);
    return arrival;
  };
  const http = createServer((request, response) => {
    const path = request.url ?? '';
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const now = performance.now();
      if (path !== '/hangs') response.writeHead(204).end();
      if (path === '/timed') {
        const { data } = JSON.parse(Buffer.concat(chunks).toString());
        getArrival(data.connection.id).resolve(now);
      }
      const expectation = expected.get(path);
      if (!expectation) return;
      expectation.firstAt ??= now;
      expectation.left -= 1;
      if (expectation.left > 0) return;
      expected.delete(path);
      expectation.done({ firstAt: expectation.firstAt, lastAt: now });
    });
  }).listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    expect: (path, count) =>
      new Promise((done) => {
        expected.set(path, { left: count, done });
      }),
    arrivalOf: (id) => getArrival(id).promise,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
    },
  };
}

/** Counts the deliveries per second of the same events in each round. The first round warms the server up. */
async function measureThroughput(
  server: Running<string>,
  receiver: Receiver,
  trail: Trail,
  organisations: readonly Organisation[],
  rounds: number,
): Promise<number[]> {
  const count = Math.ceil(eventCount / organisations.length);
  const endpoints: { id: string; position: number }[] = [];
  for (const organisation of organisations) {
    const position = await addEvents(trail, organisation, count);
    const id = await createEndpoint(clientOf(server, organisation), `${receiver.url}/counted`);
    endpoints.push({ id, position });
  }
  const rates: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const total = count * organisations.length;
    const received = receiver.expect('/counted', total);
    await withClient(trail.database, async (client) => {
      for (const { id, position } of endpoints) {
        await client.query('update webhook_endpoint set position = $1 where id = $2', [position, id]);
      }
    });
    const { firstAt, lastAt } = await received;
    if (round > 0) rates.push(total / ((lastAt - firstAt) / 1_000));
  }
  await withClient(trail.database, (client) => client.query('delete from webhook_endpoint'));
  return rates;
}

/** Gives an organisation endpoints that hang, and a flood of events for each. */
async function hang(
  server: Running<string>,
  receiver: Receiver,
  trail: Trail,
  organisation: Organisation,
): Promise<void> {
  const hanging = receiver.expect('/hangs', 1);
  for (let index = 0; index < floodEndpoints; index += 1)
    await createEndpoint(clientOf(server, organisation), `${receiver.url}/hangs`);
  await addEvents(trail, organisation, floodCount);
  await hanging;
}

/** Creates connections one after another, each after the event of the one before, and returns the delays of the events. */
async function timeEvents({ oktaUrl }: Fixture, client: Client, receiver: Receiver): Promise<number[]> {
  const delays: number[] = [];
  for (let index = 0; index < timedCount; index += 1) {
    const { id } = await sendOperation(client, 'create', {
      name: `timed-${crypto.randomUUID()}`,
      description: 'Created while its event is timed.',
      credentials: { instanceUrl: oktaUrl, apiToken: `token-${index}` },
    });
    const respondedAt = performance.now();
    delays.push(Math.max(0, (await receiver.arrivalOf(id)) - respondedAt));
    await sleep(pauseMs);
  }
  return delays;
}

function clientOf(server: Running<string>, { key }: Organisation): Client {
  return { ...server, headers: { ...server.headers, authorization: `Bearer ${key}` } };
}

async function createEndpoint({ url, headers }: Client, target: string): Promise<string> {
  const response = await fetch(`${url}/api/v1/webhook-endpoints`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ url: target }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`the endpoint was not created: ${text}`);
  return JSON.parse(text).endpoint.id;
}
