import { sendOperation } from '../peers/client.ts';
import type { Fixture, Running } from '../peers/fixture.ts';
import { connections } from '../peers/load.ts';
import { start } from '../peers/processes.ts';
import { buildRequests, measureInTurns, measureRound, type Round, type Rounds } from '../peers/rounds.ts';
import { formatQuartiles, latencyQuantile, table } from '../peers/summary.ts';
import { delayMs } from './servers/delay.ts';

/** Long enough for many creates to complete in each round. */
const shortestRound = 6;

/** Measures the slowest reads, alone and beside creates that wait for a slow Okta. */
export async function measureTail(fixture: Fixture, { rounds, seconds }: Rounds): Promise<string> {
  await using okta = await start(new URL('servers/slow-okta.ts', import.meta.url));
  const environment = { ...fixture.settings, TRUSTED_INSTANCE_HOSTS: new URL(okta.url).host };
  const database = await fixture.databases.copy('tail');
  await using server = await fixture.serve('tail', database, { environment });
  const requests = buildRequests(fixture, server.dialect, 'read');
  let created = 0;
  const alone = (seconds: number) => measureRound(server, { seconds }, requests);
  const crowded = async (seconds: number) => {
    const crowd = new AbortController();
    const reads = alone(seconds).finally(() => crowd.abort());
    const [readRound, ...counts] = await Promise.all([
      reads,
      ...Array.from({ length: connections }, () => createUntil(server, okta.url, crowd.signal)),
    ]);
    created += counts.reduce((sum, each) => sum + each, 0);
    return readRound;
  };
  const results = await measureInTurns(
    new Map([
      ['alone', alone],
      [`with ${connections} connections that create, for which Okta takes ${delayMs / 1_000} s`, crowded],
    ]),
    { rounds, seconds: Math.max(seconds, shortestRound) },
  );
  const tail = (round: Round) => latencyQuantile(0.99, round) / latencyQuantile(0.5, round);
  return [
    table(
      ['read one by id', 'p50 ms', 'p99 ms', 'p99 ÷ p50 within a round', 'target'],
      [...results].map(([name, own]) => [
        name,
        latencyQuantile(0.5, ...own).toFixed(1),
        latencyQuantile(0.99, ...own).toFixed(1),
        formatQuartiles(own.map(tail)),
        '< 4',
      ]),
    ),
    `${created} creates were answered, none before Okta had answered.`,
  ].join('\n\n');
}

let createCount = 0;

/** Creates connections one after another, and returns their number. */
async function createUntil(server: Running<string>, oktaUrl: string, over: AbortSignal): Promise<number> {
  let count = 0;
  while (!over.aborted) {
    createCount += 1;
    count += 1;
    const started = performance.now();
    const { verification } = await sendOperation(server, 'create', {
      name: `slow-${createCount}`,
      description: 'Created through a slow Okta.',
      credentials: { instanceUrl: oktaUrl, apiToken: `token-${createCount}` },
    });
    if (verification.status !== 'VERIFIED' || performance.now() - started < delayMs) {
      throw new Error(`a create was answered without Okta: ${verification.status}`);
    }
  }
  return count;
}
