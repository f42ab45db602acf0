import { ask } from '../peers/client.ts';
import { connections } from '../peers/load.ts';
import { start } from '../peers/processes.ts';
import { inTurns, type Round, type Rounds, requestsOf, takeRound } from '../peers/rounds.ts';
import type { Ground, Running } from '../peers/stage.ts';
import { latencyAt, spread, table } from '../peers/summary.ts';
import { delayMs } from './servers/delay.ts';

/** Long enough for many creates to complete in each round. */
const shortestRound = 6;

/** Measures the slowest reads, alone and beside creates that wait for a slow Okta. */
export async function measureTail(ground: Ground, { rounds, seconds }: Rounds): Promise<string> {
  await using okta = await start(new URL('servers/slow-okta.ts', import.meta.url));
  const environment = { ...ground.settings, TRUSTED_INSTANCE_HOSTS: new URL(okta.url).host };
  const database = await ground.databases.copy('tail');
  await using server = await ground.serve('tail', database, { environment });
  const requests = requestsOf(ground, server.dialect, 'read');
  let created = 0;
  const alone = (seconds: number) => takeRound(server, { seconds }, requests);
  const crowded = async (seconds: number) => {
    const crowd = new AbortController();
    const reads = alone(seconds).finally(() => crowd.abort());
    const [seen, ...made] = await Promise.all([
      reads,
      ...Array.from({ length: connections }, () => createUntil(server, okta.url, crowd.signal)),
    ]);
    created += made.reduce((sum, each) => sum + each, 0);
    return seen;
  };
  const seen = await inTurns(
    new Map([
      ['alone', alone],
      [`with ${connections} connections that create, for which Okta takes ${delayMs / 1_000} s`, crowded],
    ]),
    { rounds, seconds: Math.max(seconds, shortestRound) },
  );
  const tail = (round: Round) => latencyAt(0.99, round) / latencyAt(0.5, round);
  return [
    table(
      ['read one by id', 'p50 ms', 'p99 ms', 'p99 ÷ p50 within a round', 'target'],
      [...seen].map(([name, own]) => [
        name,
        latencyAt(0.5, ...own).toFixed(1),
        latencyAt(0.99, ...own).toFixed(1),
        spread(own.map(tail)),
        '< 4',
      ]),
    ),
    `${created} creates were answered, none before Okta had been.`,
  ].join('\n\n');
}

let made = 0;

/** Creates connections one after another, and returns their number. */
async function createUntil(server: Running<string>, oktaUrl: string, over: AbortSignal): Promise<number> {
  let count = 0;
  while (!over.aborted) {
    made += 1;
    count += 1;
    const started = performance.now();
    const { verification } = await ask(server, 'create', {
      name: `slow-${made}`,
      description: 'Made while Okta took its time.',
      credentials: { instanceUrl: oktaUrl, apiToken: `token-${made}` },
    });
    if (verification.status !== 'VERIFIED' || performance.now() - started < delayMs) {
      throw new Error(`a create was answered without Okta: ${verification.status}`);
    }
  }
  return count;
}
