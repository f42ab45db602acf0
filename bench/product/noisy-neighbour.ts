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
import { type Client, sendOperation } from '../peers/client.ts';
import type { Fixture } from '../peers/fixture.ts';
import { connections } from '../peers/load.ts';
import type { Rounds } from '../peers/rounds.ts';
import { formatQuartiles, latencyQuantile, ratiosPerRound, table } from '../peers/summary.ts';
import { type NoiseKind, type NoiseOptions, noiseKinds } from './noise.ts';
import { type Reads, readAtRate } from './read-at-rate.ts';

/** The number of audit events of the noisy organisation. */
const eventCount = 100_000;
const eventsPerTransaction = 2_000;
const settleMs = 300;

/** What reads by id took in one round. */
interface Round {
  alone: Reads;
  /** While the other organisation sends its load to the same server. */
  beside: Reads;
  /** While it sends the load to another server with another database: what sharing the cores costs. */
  apart: Reads;
  /** Of the load, on the same server. */
  besideResponsesPerSecond: number;
  /** Of the load, on another server. */
  apartResponsesPerSecond: number;
}

/**
 * Measures the latency of reads of one organisation, alone and beside each kind of load of another organisation, on the same
 * server and on another one.
 */
export async function measureNoisy(fixture: Fixture, { rounds, seconds }: Rounds): Promise<string> {
  const silent = createServer((socket) => socket.resume().on('error', () => undefined)).listen(
    0,
    '127.0.0.1',
  );
  await once(silent, 'listening');
  const silentHost = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const environment = {
    ...fixture.settings,
    TRUSTED_INSTANCE_HOSTS: `${fixture.settings.TRUSTED_INSTANCE_HOSTS},${silentHost}`,
  };
  const serve = async (name: string) => {
    const database = await fixture.databases.copy(name);
    const keys = await prepareOrganisations(fixture, { ...environment, DATABASE_URL: database });
    return { ...(await fixture.serve(name, database, { environment })), ...keys };
  };
  await using server = await serve('noisy');
  await using otherServer = await serve('noisy_other');
  const { quietKey } = server;
  const quiet: Client = { ...server, headers: { ...server.headers, authorization: `Bearer ${quietKey}` } };
  const credentials = { instanceUrl: fixture.oktaUrl, apiToken: 'token-of-the-quiet' };
  const { id } = await sendOperation(quiet, 'create', {
    name: 'quiet',
    description: 'The connection that is read.',
    credentials,
  });
  const noiseOn = ({ url, readOnlyKey }: { url: string; readOnlyKey: string }) => ({
    ...{ url, readOnlyKey, silentHost, connections },
    apiKey: fixture.settings.BOOTSTRAP_API_KEY ?? '',
  });

  const pool = new Pool(server.url, { connections: 64 });
  const read = () => readAtRate(pool, quiet, id, { seconds });
  const results = new Map<NoiseKind, Round[]>();
  await read();
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of noiseKinds) {
      const alone = await read();
      const beside = await readDuring({ ...noiseOn(server), kind }, read);
      const apart = await readDuring({ ...noiseOn(otherServer), kind }, read);
      results.set(kind, [
        ...(results.get(kind) ?? []),
        {
          alone,
          beside: beside.reads,
          apart: apart.reads,
          besideResponsesPerSecond: beside.responseCount / seconds,
          apartResponsesPerSecond: apart.responseCount / seconds,
        },
      ]);
    }
  }
  await pool.close();
  silent.close();
  return table(
    [
      'read one by id, beside',
      'responses/s',
      'p50 ms',
      'p99 ms',
      'p50 alone',
      'p99 alone',
      'p99 ÷ p99 alone',
      'target',
      'responses/s, load on another server',
      'p99 ms, load on another server',
      'p99 ÷ p99 alone, load on another server',
    ],
    [...results].map(([kind, all]) => {
      const alone = all.map((each) => each.alone);
      const beside = all.map((each) => each.beside);
      const apart = all.map((each) => each.apart);
      const p99 = (...reads: Reads[]) => latencyQuantile(0.99, ...reads);
      return [
        kind,
        mean(all.map((each) => each.besideResponsesPerSecond)).toFixed(0),
        ...[beside, alone].flatMap((reads) =>
          [0.5, 0.99].map((share) => latencyQuantile(share, ...reads).toFixed(1)),
        ),
        formatQuartiles(ratiosPerRound(beside, alone, (reads) => p99(reads))),
        '≤ 2',
        mean(all.map((each) => each.apartResponsesPerSecond)).toFixed(0),
        p99(...apart).toFixed(1),
        formatQuartiles(ratiosPerRound(apart, alone, (reads) => p99(reads))),
      ];
    }),
  );
}

const mean = (values: number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;

/** Gives the noisy organisation audit events and a read-only key, and creates the quiet organisation. */
async function prepareOrganisations(fixture: Fixture, environment: Record<string, string>) {
  const log = createLog('silent');
  const config = readConfig({ NODE_ENV: 'production', ...environment });
  const { database, vault, unlock, close } = await openStores(config, log);
  await unlock();
  const deps = { database, vault };
  const orgId = firstOrganisationId;
  const actor = { orgId, keyId: null, subject: null, address: null, requestId: null };
  const event = { ...actor, action: 'VERIFY_CONNECTION', outcome: 'OK', fields: ['verification'] } as const;
  for (let appended = 0; appended < eventCount; appended += eventsPerTransaction) {
    const batch = Array.from({ length: eventsPerTransaction }, (_, index) => ({
      ...event,
      fields: [...event.fields],
      connectionId: fixture.ids[index % fixture.ids.length] ?? null,
    }));
    await database.forOrganisation(orgId).transactional((em) => appendEvents(em, deps, orgId, batch));
  }
  const quietKey = generateApiKey();
  const readOnly = await database.asSystem().transactional(async (em) => {
    await createOrganisation(em, deps, { name: 'Quiet', projectName: 'First', administratorKey: quietKey });
    return grantApiKey(em, deps, { orgId, name: 'Read only', scopes: ['connections:read'] });
  });
  await database.asSystem().execute('analyze');
  await close();
  return { quietKey: quietKey.reveal(), readOnlyKey: readOnly.key.reveal() };
}

/** Reads while another thread generates load. */
async function readDuring(options: NoiseOptions, read: () => Promise<Reads>) {
  const worker = new Worker(new URL('noise.ts', import.meta.url), { workerData: options });
  await once(worker, 'online');
  await sleep(settleMs);
  const reads = await read();
  worker.postMessage('stop');
  const [responseCount] = (await once(worker, 'message')) as [number];
  await worker.terminate();
  // The server may still process requests whose client has disconnected.
  await sleep(settleMs);
  return { reads, responseCount };
}
