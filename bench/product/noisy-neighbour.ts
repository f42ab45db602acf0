import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Pool } from 'undici';
import { createOrganisation, grantApiKey } from '../../src/administration/organisations.ts';
import { appendEvents } from '../../src/audit/hash-chain.ts';
import { generateApiKey } from '../../src/auth/api-keys.ts';
import { openStores } from '../../src/bootstrap/stores.ts';
import { createLog } from '../../src/common/log.ts';
import { readConfig } from '../../src/config/read-config.ts';
import { firstOrganisationId } from '../../src/identity/organisations.ts';
import { ask, type Client, request } from '../peers/client.ts';
import type { Rounds } from '../peers/rounds.ts';
import type { Ground } from '../peers/stage.ts';
import { latencyAt, ratiosOf, spread, table } from '../peers/summary.ts';
import { type NoiseKind, type NoiseOptions, noiseKinds } from './noise.ts';

/** Events of the noisy organisation; each tells of a change of one of its connections. */
const events = 100_000;
const eventsTogether = 2_000;
/** Reads of the quiet organisation, a second. They go on at this rate however long each takes. */
const readsPerSecond = 100;
const settleMs = 300;

/** How long reads of one organisation take, alone and beside the worst that another organisation can do. */
export async function measureNoisy(ground: Ground, { rounds, seconds }: Rounds): Promise<string> {
  const silent = createServer((socket) => socket.resume().on('error', () => undefined)).listen(
    0,
    '127.0.0.1',
  );
  await once(silent, 'listening');
  const silentHost = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const database = await ground.databases.copy('noisy');
  const environment = {
    ...ground.settings,
    TRUSTED_INSTANCE_HOSTS: `${ground.settings.TRUSTED_INSTANCE_HOSTS},${silentHost}`,
  };
  const { quietKey, readOnlyKey } = await prepareOrganisations(ground, {
    ...environment,
    DATABASE_URL: database,
  });
  await using server = await ground.serve('noisy', database, { environment });
  const quiet: Client = { ...server, headers: { ...server.headers, authorization: `Bearer ${quietKey}` } };
  const credentials = { instanceUrl: ground.oktaUrl, apiToken: 'token-of-the-quiet' };
  const { id } = await ask(quiet, 'create', { name: 'quiet', description: 'Is read.', credentials });
  const noise = { url: server.url, apiKey: ground.settings.BOOTSTRAP_API_KEY ?? '', readOnlyKey, silentHost };

  const pool = new Pool(server.url, { connections: 64 });
  const read = () => readAtRate(pool, quiet, id, seconds);
  const seen = new Map<NoiseKind, { alone: Reads; beside: Reads; answers: number }[]>();
  await read();
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of noiseKinds) {
      const alone = await read();
      const { reads, answers } = await during({ ...noise, kind }, read);
      seen.set(kind, [...(seen.get(kind) ?? []), { alone, beside: reads, answers: answers / seconds }]);
    }
  }
  await pool.close();
  silent.close();
  return table(
    [
      'read one by id, beside',
      'answers/s',
      'p50 ms',
      'p99 ms',
      'p50 alone',
      'p99 alone',
      'p99 ÷ p99 alone',
      'target',
    ],
    [...seen].map(([kind, all]) => {
      const [alone, beside] = [all.map((each) => each.alone), all.map((each) => each.beside)];
      return [
        kind,
        (all.reduce((sum, each) => sum + each.answers, 0) / all.length).toFixed(0),
        ...[beside, alone].flatMap((reads) =>
          [0.5, 0.99].map((share) => latencyAt(share, ...reads).toFixed(1)),
        ),
        spread(ratiosOf(beside, alone, (reads) => latencyAt(0.99, reads))),
        '≤ 2',
      ];
    }),
  );
}

interface Reads {
  latencies: number[];
}

/** Gives the noisy organisation its history and a key that may do little, and makes the quiet one. */
async function prepareOrganisations(ground: Ground, environment: Record<string, string>) {
  const log = createLog('silent');
  const config = readConfig({ NODE_ENV: 'production', ...environment });
  const { database, vault, unlock, close } = await openStores(config, log);
  await unlock();
  const parts = { database, vault };
  const orgId = firstOrganisationId;
  const actor = { orgId, keyId: null, subject: null, address: null, requestId: null };
  const event = { ...actor, action: 'VERIFY_CONNECTION', outcome: 'OK', fields: ['verification'] } as const;
  for (let made = 0; made < events; made += eventsTogether) {
    const together = Array.from({ length: eventsTogether }, (_, index) => ({
      ...event,
      fields: [...event.fields],
      connectionId: ground.ids[index % ground.ids.length] ?? null,
    }));
    await database.forOrganisation(orgId).transactional((em) => appendEvents(em, parts, orgId, together));
  }
  const quietKey = generateApiKey();
  const readOnly = await database.asSystem().transactional(async (em) => {
    await createOrganisation(em, parts, { name: 'Quiet', projectName: 'First', administratorKey: quietKey });
    return grantApiKey(em, parts, { orgId, name: 'Read only', scopes: ['connections:read'] });
  });
  await database.asSystem().execute('analyze');
  await close();
  return { quietKey: quietKey.reveal(), readOnlyKey: readOnly.key.reveal() };
}

/** Reads while another thread makes noise. */
async function during(options: NoiseOptions, read: () => Promise<Reads>) {
  const worker = new Worker(new URL('noise.ts', import.meta.url), { workerData: options });
  await once(worker, 'online');
  await sleep(settleMs);
  const reads = await read();
  worker.postMessage('stop');
  const [answers] = (await once(worker, 'message')) as [number];
  await worker.terminate();
  // What was given up may still be worked on.
  await sleep(settleMs);
  return { reads, answers };
}

/** Sends reads at a fixed rate, whether those before have been answered or not. */
async function readAtRate(pool: Pool, client: Client, id: string, seconds: number): Promise<Reads> {
  const { path, method, body = '' } = request(client.dialect, 'read', id);
  const latencies: number[] = [];
  const readOnce = async () => {
    const sent = performance.now();
    const answer = await pool.request({ path, method, headers: client.headers, body });
    const text = await answer.body.text();
    latencies.push(performance.now() - sent);
    if (!text.includes(id)) throw new Error(`a read was not answered: ${text}`);
  };
  const start = performance.now();
  const all: Promise<void>[] = [];
  for (let index = 0; index < readsPerSecond * seconds; index += 1) {
    await sleep(Math.max(0, start + (index * 1_000) / readsPerSecond - performance.now()));
    all.push(readOnce());
  }
  await Promise.all(all);
  return { latencies };
}
