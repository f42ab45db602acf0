import { setTimeout as sleep } from 'node:timers/promises';
import { type Subscription, subscribe } from '../../test/testkit/sse-client.ts';
import { sendOperation } from '../peers/client.ts';
import type { Fixture, Running } from '../peers/fixture.ts';
import { connections } from '../peers/load.ts';
import { buildRequests, measureInTurns, measureRound, type Rounds } from '../peers/rounds.ts';
import { latencyQuantile, table } from '../peers/summary.ts';

/** The pause between two creates, in milliseconds. */
const pauseMs = 20;

/**
 * Measures the time from the response to a create on one server until a subscription on another server receives the event,
 * with nothing else to do and beside other organisations that create without pause.
 */
export async function measureEvents(fixture: Fixture, options: Rounds): Promise<string> {
  const { databases, organisations, serve } = fixture;
  const database = await databases.copy('events');
  await using first = await serve('first', database);
  await using second = await serve('second', database);
  const [{ key = '' } = {}, ...others] = organisations;
  const query = 'subscription { appConnectionChanged { connectionId } }';
  await using subscription = await subscribe(`${second.url}/graphql`, key, query);
  const arrivals = recordArrivals(subscription);
  const alone = async (seconds: number) => ({ latencies: await create(fixture, first, arrivals, seconds) });
  const busy = buildRequests(fixture, first.dialect, 'create', others);
  const crowded = async (seconds: number) => {
    const [own] = await Promise.all([alone(seconds), measureRound(first, { seconds }, busy)]);
    return own;
  };
  const results = await measureInTurns(
    new Map([
      ['alone', alone],
      [`beside ${connections} connections of ${others.length} other organisations that create`, crowded],
    ]),
    options,
  );
  return table(
    [
      'from the response of one server to the event on another',
      'events',
      'p50 ms',
      'p99 ms',
      'max ms',
      'target of p99',
    ],
    [...results].map(([name, rounds]) => [
      name,
      `${rounds.flatMap(({ latencies }) => latencies).length}`,
      ...[0.5, 0.99, 0.999_999].map((share) => latencyQuantile(share, ...rounds).toFixed(0)),
      '< 250',
    ]),
  );
}

/** The time at which the event of each connection arrives; it may be before the response. */
type Arrivals = (connectionId: string) => PromiseWithResolvers<number>;

function recordArrivals(subscription: Subscription): Arrivals {
  const arrivals = new Map<string, PromiseWithResolvers<number>>();
  const get: Arrivals = (id) => {
    const arrival = arrivals.get(id) ?? Promise.withResolvers<number>();
    arrivals.set(id, arrival);
    return arrival;
  };
  const read = async () => {
    for (;;) {
      const { data, errors } = await subscription.next();
      if (errors) throw new Error(`the subscription failed: ${JSON.stringify(errors)}`);
      get(Object(data?.appConnectionChanged).connectionId).resolve(performance.now());
    }
  };
  // It ends with the subscription.
  read().catch(() => undefined);
  return get;
}

let createCount = 0;

/** Creates connections one after another, each after the event of the one before, and returns the delays of the events. */
async function create(
  { oktaUrl }: Fixture,
  server: Running<string>,
  arrivals: Arrivals,
  seconds: number,
): Promise<number[]> {
  const delays: number[] = [];
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    createCount += 1;
    const { id } = await sendOperation(server, 'create', {
      name: `watched-${createCount}`,
      description: 'Created while another server is watched.',
      credentials: { instanceUrl: oktaUrl, apiToken: `token-${createCount}` },
    });
    const respondedAt = performance.now();
    delays.push(Math.max(0, (await arrivals(id).promise) - respondedAt));
    await sleep(pauseMs);
  }
  return delays;
}
