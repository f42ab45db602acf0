/**
 * Searches for the request of at most 100 kB that keeps the server busy for longest: `npm run fuzz:delay -- [--seed N]
 * [--requests 2000]`. Mutates the slowest so far, by the processor time of the server's thread, and prints the slowest ten.
 *
 * Needs DATABASE_URL of an empty PostgreSQL database, because the embedded database runs in the measured thread.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Genes, mutate, randomGenes, toRequestBody } from '../test/testkit/fuzz/expensive-requests.ts';
import { Random } from '../test/testkit/fuzz/random.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    requests: { type: 'string', default: '2000' },
  },
});
const random = new Random(Number(values.seed));
const requests = Number(values.requests);
const apiKey = 'fuzz-key-fuzz-key-fuzz-key-fuzz-key-fuzz';
const populationSize = 40;

/** The cost of a request for the server. */
interface Cost {
  cpuMs: number;
  /** The longest block of the event loop, in milliseconds. */
  delayMs: number;
}

const folder = mkdtempSync(join(tmpdir(), 'app-connections-fuzz-'));
const environment = { ...process.env, DATA_DIR: folder, PORT: '0', BOOTSTRAP_API_KEY: apiKey };
const child = fork(new URL('./fuzz-server.ts', import.meta.url), {
  env: environment,
  stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
});
const [url] = (await once(child, 'message')) as [string];

const worst: { genes: Genes; body: string; cost: Cost; status: number }[] = [];
for (let number = 0; number < requests; number += 1) {
  const isNew = number < requests / 4 || random.isTrue(0.1);
  const genes = isNew ? randomGenes(random) : mutate(random, random.pick(worst).genes);
  const body = toRequestBody(genes);
  if (worst.some((each) => each.body === body)) continue;
  const measured = await measure(child, url, body);
  // Measured twice, because another process or garbage collection may have interrupted the first time.
  const again =
    measured.cost.cpuMs > (worst.at(-1)?.cost.cpuMs ?? 0) ? await measure(child, url, body) : measured;
  const best = again.cost.cpuMs < measured.cost.cpuMs ? again : measured;
  worst.push({ genes, body, ...best });
  worst.sort((a, b) => b.cost.cpuMs - a.cost.cpuMs);
  worst.length = Math.min(worst.length, populationSize);
}
for (const { body, cost, status } of worst.slice(0, 10)) {
  console.log(
    `${cost.cpuMs.toFixed(1)} ms of processor, ${cost.delayMs.toFixed(1)} ms blocked, ${status}, ` +
      `${Buffer.byteLength(body)} bytes: ${JSON.stringify(body.slice(0, 300))}`,
  );
}
child.kill('SIGTERM');
await once(child, 'exit');
rmSync(folder, { recursive: true });

async function measure(
  server: ChildProcess,
  to: string,
  body: string,
): Promise<{ cost: Cost; status: number }> {
  await readCost(server);
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const response = await fetch(`${to}/graphql`, { method: 'POST', headers, body });
  await response.arrayBuffer();
  return { cost: await readCost(server), status: response.status };
}

async function readCost(server: ChildProcess): Promise<Cost> {
  server.send('cost');
  const [cost] = (await once(server, 'message')) as [Cost];
  return cost;
}
