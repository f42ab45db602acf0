/**
 * How fast one server is on this machine: `npm run bench`.
 *
 * Starts the server as a process of its own on an empty database (embedded, or the empty PostgreSQL database of
 * DATABASE_URL), with a stand-in for Okta in this process, and asks over 16 connections. The client shares the
 * machine with the server, so the figures are for comparing runs on one machine, not for quoting.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { startOktaStandIn } from '../src/apps/okta/stand-in.ts';

const connections = 16;
const creates = 1_000;
const reads = 5_000;
const lists = 1_000;
const port = 4_700;
const apiKey = 'bench-key-bench-key-bench-key-bench-key';

const standIn = await startOktaStandIn();
const folder = mkdtempSync(join(tmpdir(), 'app-connections-bench-'));
const started = performance.now();
const server = spawn(process.execPath, ['src/main.ts'], {
  env: {
    ...process.env,
    PORT: String(port),
    DATA_DIR: folder,
    BOOTSTRAP_API_KEY: apiKey,
    TRUSTED_INSTANCE_HOSTS: new URL(standIn.url).host,
  },
  stdio: ['ignore', 'pipe', 'inherit'],
});
await new Promise<void>((resolve, reject) => {
  server.stdout.on('data', (chunk: Buffer) => chunk.includes('is ready') && resolve());
  server.once('exit', () => reject(new Error('the server did not start')));
});
console.log(`start to ready: ${Math.round(performance.now() - started)} ms, first start`);

const pool = new Pool(`http://127.0.0.1:${port}`, { connections });

/** @throws when the answer is not what was asked for: a fast error is no result */
async function ask<T>(query: string, variables: Record<string, unknown>): Promise<T> {
  const { body } = await pool.request({
    path: '/graphql',
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await body.json()) as { data: T; errors?: unknown };
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

async function measure(
  what: string,
  count: number,
  once: (index: number) => Promise<unknown>,
): Promise<void> {
  const times: number[] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) {
      const start = performance.now();
      await once(index);
      times.push(performance.now() - start);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: connections }, worker));
  const seconds = (performance.now() - start) / 1_000;
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)]?.toFixed(1);
  console.log(
    `${what.padEnd(16)} ${(count / seconds).toFixed(0).padStart(6)} a second   p50 ${at(0.5)} ms   p99 ${at(0.99)} ms`,
  );
}

const ids: string[] = [];
await measure('create', creates, async (index) => {
  const { createOktaConnection } = await ask<{ createOktaConnection: { appConnection: { id: string } } }>(
    'mutation ($input: CreateOktaConnectionInput!) { createOktaConnection(input: $input) { appConnection { id } } }',
    {
      input: {
        name: `bench-${index}`,
        credentials: { instanceUrl: standIn.url, apiToken: `token-${index}` },
      },
    },
  );
  ids.push(createOktaConnection.appConnection.id);
});
console.log(`resident memory after ${creates} creates: ${residentMiB(server.pid)} MiB`);
await measure('read by id', reads, (index) =>
  ask('query ($id: UUID!) { appConnection(id: $id) { id name verification { status } } }', {
    id: ids[index % ids.length],
  }),
);
await measure('first 20', lists, () =>
  ask('{ appConnections(first: 20) { nodes { id name } pageInfo { hasNextPage endCursor } } }', {}),
);
console.log(`resident memory at the end: ${residentMiB(server.pid)} MiB`);

server.removeAllListeners('exit').kill();
await new Promise((resolve) => server.once('exit', resolve));
await Promise.all([pool.close(), standIn.close()]);
rmSync(folder, { recursive: true });

function residentMiB(pid: number | undefined): string {
  try {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return (Number(kib) / 1_024).toFixed(0);
  } catch {
    return 'unknown, as this is not Linux,';
  }
}
