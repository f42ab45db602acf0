/**
 * Measures reads beside an Okta that does not respond: `npm run bench:slow`.
 *
 * Starts the server as a process of its own on an empty database (embedded, or the empty PostgreSQL database of
 * DATABASE_URL), and reads by id over a few connections, alternately without and with 200 concurrent creates that go
 * to a host that accepts connections and never responds. The result is the ratio of both, measured in one run on one
 * machine.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MikroORM } from '@mikro-orm/postgresql';
import { Pool } from 'undici';

const readers = 4;
const creates = 200;
const rounds = 8;
/** Less than the ten seconds of the server's timeout for Okta, so that reads are measured during the wait only. */
const roundMs = 8_000;
const port = 4_701;
const apiKey = 'bench-key-bench-key-bench-key-bench-key';
const { DATABASE_URL: databaseUrl } = process.env;

const sockets = new Set<Socket>();
const silent = createServer((socket) => {
  sockets.add(socket.resume().on('error', () => undefined));
  socket.once('close', () => sockets.delete(socket));
}).listen(0, '127.0.0.1');
await once(silent, 'listening');
const silentHost = `127.0.0.1:${(silent.address() as AddressInfo).port}`;

const folder = mkdtempSync(join(tmpdir(), 'app-connections-bench-'));
const server = spawn(process.execPath, ['src/main.ts'], {
  env: {
    ...process.env,
    PORT: String(port),
    DATA_DIR: folder,
    BOOTSTRAP_API_KEY: apiKey,
    TRUSTED_INSTANCE_HOSTS: silentHost,
    LOG_LEVEL: 'warn',
  },
  stdio: ['ignore', 'pipe', 'inherit'],
});
// Also after an uncaught error.
process.once('exit', () => server.kill());
await new Promise<void>((resolve, reject) => {
  server.stdout.on('data', (chunk: Buffer) => chunk.includes('is ready') && resolve());
  server.once('exit', () => reject(new Error('the server did not start')));
});
/** A new pool for each round, because the server may close idle connections at any time. */
const connect = (connections: number) => new Pool(`http://127.0.0.1:${port}`, { connections });

interface Answer {
  data?: { createOktaConnection?: { appConnection: { id: string } } | null; appConnection?: { id: string } };
  errors?: { message: string; extensions: { code: string } }[];
}

async function sendQuery(pool: Pool, query: string, variables: object): Promise<Answer> {
  const { body } = await pool.request({
    path: '/graphql',
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  return (await body.json()) as Answer;
}

function create(pool: Pool, name: string, instanceUrl: string): Promise<Answer> {
  return sendQuery(
    pool,
    'mutation ($input: CreateOktaConnectionInput!) { createOktaConnection(input: $input) { appConnection { id } } }',
    { input: { name, credentials: { instanceUrl, apiToken: 'any' } } },
  );
}

const first = connect(1);
const created = await create(first, 'bench', 'https://example.okta.com');
await first.close();
const id = created.data?.createOktaConnection?.appConnection.id;
if (!id) throw new Error(JSON.stringify(created));

/** Reads until the time is over, and returns the duration of each read in milliseconds. */
async function readFor(ms: number): Promise<number[]> {
  const pool = connect(readers);
  const times: number[] = [];
  const end = performance.now() + ms;
  const worker = async () => {
    while (performance.now() < end) {
      const start = performance.now();
      const { data } = await sendQuery(pool, 'query ($id: UUID!) { appConnection(id: $id) { id name } }', {
        id,
      });
      if (data?.appConnection?.id !== id) throw new Error('a read was not answered');
      times.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: readers }, worker));
  await pool.close();
  return times;
}

await readFor(2_000);
const seen = { without: [] as number[][], with: [] as number[][] };
const refusedAfterMs: number[] = [];
for (let round = 0; round < rounds; round += 1) {
  seen.without.push(await readFor(roundMs));
  const creating = connect(creates);
  const start = performance.now();
  const waiting = Array.from({ length: creates }, async (_, index) => {
    const { errors } = await create(creating, `slow-${round}-${index}`, `http://${silentHost}`);
    if (errors?.[0]?.extensions.code !== 'UPSTREAM_UNREACHABLE') throw new Error(JSON.stringify(errors));
    if (errors[0].message.startsWith('No request was sent to Okta'))
      refusedAfterMs.push(performance.now() - start);
  });
  const times = readFor(roundMs);
  await new Promise((resolve) => setTimeout(resolve, roundMs / 2));
  const hanging = sockets.size;
  const held = databaseUrl && (await inTransaction(databaseUrl));
  seen.with.push(await times);
  await Promise.all(waiting);
  await creating.close();
  console.log(
    `round ${round + 1}: ${hanging} connections to the silent host while ${creates} creates wait` +
      `${held === undefined ? '' : `, ${held} transactions of more than a second`}`,
  );
}

for (const share of [0.5, 0.99]) {
  const [without, during] = [seen.without, seen.with].map((turns) =>
    turns.map((times) => quantile(times, share)),
  );
  const ratios = (during ?? []).map((time, round) => time / (without?.[round] ?? Number.NaN));
  console.log(
    `read by id, p${share * 100}: ${quantile(without ?? [], 0.5).toFixed(1)} ms without, ` +
      `${quantile(during ?? [], 0.5).toFixed(1)} ms with, ratio ${quantile(ratios, 0.5).toFixed(2)} ` +
      `(${ratios.map((ratio) => ratio.toFixed(2)).join(', ')})`,
  );
}
console.log(
  `refused at the limit: ${refusedAfterMs.length / rounds} of ${creates}, p50 ${quantile(refusedAfterMs, 0.5).toFixed(0)} ms, ` +
    `p99 ${quantile(refusedAfterMs, 0.99).toFixed(0)} ms after all were sent`,
);

server.removeAllListeners('exit').kill();
await once(server, 'exit');
for (const socket of sockets) socket.destroy();
silent.close();
rmSync(folder, { recursive: true });

/** Returns a quantile. */
function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;
}

/** Counts database connections with a transaction of more than a second. */
async function inTransaction(clientUrl: string): Promise<number> {
  const orm = await MikroORM.init({ clientUrl, entities: [], discovery: { warnWhenNoEntities: false } });
  const { count } = await orm.em.execute<{ count: number }>(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and xact_start < now() - interval '1 second'`,
    [],
    'get',
  );
  await orm.close(true);
  return count;
}
