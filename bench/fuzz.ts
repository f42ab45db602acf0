/**
 * Malformed and hostile requests from a seeded generator: `npm run fuzz -- [--seed N] [--requests 50000] [--only K]`.
 *
 * Instance URLs lead to hostile hosts, and unique documents fill the caches. The requests go to a server in a process of
 * its own on an empty database (embedded, or the empty PostgreSQL database of DATABASE_URL). With `--only`, sends only the
 * request with that index, and prints the response. Exit code 1 when a response, a log line or a database row breaks a
 * rule, or when the memory keeps growing.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { openStores } from '../src/bootstrap/stores.ts';
import { createLog } from '../src/common/log.ts';
import { readConfig } from '../src/config/read-config.ts';
import { lazyScopedEntityManager, ownerSession } from '../src/database/driver/session.ts';
import { firstProjectId } from '../src/identity/organisations.ts';
import { prepareFixture } from '../test/testkit/fuzz/fixture.ts';
import { startHostileHosts } from '../test/testkit/fuzz/hostile-hosts.ts';
import { hostileRequest } from '../test/testkit/fuzz/requests.ts';
import { fuzz, isIn } from '../test/testkit/fuzz/run.ts';
import { createConnectionOverRest, restClient } from '../test/testkit/rest.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    requests: { type: 'string', default: '50000' },
    only: { type: 'string' },
  },
});
const seed = Number(values.seed);
const [from, to] = values.only
  ? [Number(values.only), Number(values.only) + 1]
  : [0, Number(values.requests)];
const parts = 10;
const apiKey = 'fuzz-key-fuzz-key-fuzz-key-fuzz-key-fuzz';

const folder = mkdtempSync(join(tmpdir(), 'app-connections-fuzz-'));
const hosts = await startHostileHosts();
const environment = {
  ...process.env,
  ...{ DATA_DIR: folder, PORT: '0', BOOTSTRAP_API_KEY: apiKey },
  TRUSTED_INSTANCE_HOSTS: [...hosts.hostPorts].join(','),
};
const child = fork(new URL('./fuzz-server.ts', import.meta.url), {
  env: environment,
  stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
});
let log = '';
for (const stream of [child.stdout, child.stderr])
  stream?.on('data', (chunk: Buffer) => {
    log += chunk;
  });
child.once('exit', (code, signal) => {
  if (!isOver) console.log(`the server ended with ${code ?? signal}: ${log.slice(-2_000)}`);
});
let isOver = false;
const [url] = (await once(child, 'message')) as [string];
const fixture = await prepareFixture(url, apiKey, firstProjectId, hosts.origins);
const schema = createSchema(createApps({ trustedHosts: new Set() }));
const wrong: string[] = [];
const statuses: Record<string, number> = {};
const codes: Record<string, number> = {};
const memory: number[] = [];

if (values.only) console.log(hostileRequest(seed, from, fixture, schema).bytes.toString('latin1'));
const started = performance.now();
const size = Math.ceil((to - from) / parts);
for (let start = from; start < to; start += size) {
  const report = await fuzz({ url, fixture, schema, seed, from: start, to: Math.min(start + size, to) });
  for (const [sum, counts] of [
    [statuses, report.statuses],
    [codes, report.codes],
  ] as const) {
    for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + count;
  }
  for (const { number, kind, what, answer } of report.violations)
    wrong.push(`${what} (${kind}, --only ${number}):\n${answer}`);
  memory.push(residentMiB(child.pid));
}
console.log(`seed ${seed}: ${to - from} requests in ${((performance.now() - started) / 1_000).toFixed(0)} s`);
console.log('statuses', statuses);
console.log('codes', codes);
console.log(`resident memory, a tenth at a time: ${memory.join(', ')} MiB`);

// The server answers as before.
const rest = restClient(url, apiKey);
const { id } = await createConnectionOverRest(rest, { name: 'afterwards' });
if ((await rest('GET', `/api/v1/app-connections/okta/${id}`)).status !== 200)
  wrong.push('the server does not answer any more');
isOver = true;
child.kill('SIGTERM');
await once(child, 'exit');
await hosts.close();

if (isIn(fixture.planted, log)) wrong.push('the planted token is in the log');
const faults = log.split('\n').filter((line) => line.includes('unexpected error'));
if (faults.length > 0) wrong.push(`${faults.length} unexpected errors in the log, such as ${faults[0]}`);
for (const place of await findInDatabase(fixture.planted))
  wrong.push(`the planted token is in the database: ${place}`);
const [half = 0, end = 0] = [memory[Math.floor(memory.length / 2)], memory.at(-1)];
if (memory.length >= parts && end > half * 1.25)
  wrong.push(`the memory grew from ${half} to ${end} MiB in the last half`);
rmSync(folder, { recursive: true });

for (const each of wrong) console.log(`FAILURE: ${each}`);
console.log(wrong.length === 0 ? 'no failures' : `${wrong.length} failures`);
process.exitCode = wrong.length === 0 ? 0 : 1;

/** Finds a token in the database: the columns that contain it, each with the first such value. */
async function findInDatabase(token: string): Promise<string[]> {
  const { database, close } = await openStores(readConfig(environment), createLog('silent'));
  const em = lazyScopedEntityManager(() => database.asSystem().fork(), ownerSession);
  const tables: { name: string }[] = await em.execute(
    "select table_name as name from information_schema.tables where table_schema = 'public'",
  );
  const places = new Map<string, string>();
  for (const { name } of tables) {
    for (const row of await em.execute<Record<string, unknown>[]>(`select * from "${name}"`)) {
      for (const [column, value] of Object.entries(row)) {
        const text = JSON.stringify(value) ?? '';
        if (isIn(token, text)) places.set(`${name}.${column}`, text);
      }
    }
  }
  await close();
  return [...places].map(([place, text]) => `${place}: ${text}`);
}

function residentMiB(pid: number | undefined): number {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kib) / 1_024);
}
