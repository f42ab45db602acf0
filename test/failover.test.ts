import dns from 'node:dns';
import { describe, expect, test, vi } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { type Address, openAddress } from './testkit/address.ts';
import { administer, testDatabaseUrl } from './testkit/database.ts';
import { type Cluster, canMakeCluster, makeCluster, makeStandby } from './testkit/faults/cluster.ts';
import { lookInto } from './testkit/faults/invariants.ts';
import { LoadGenerator, tryToCreate } from './testkit/faults/load.ts';
import { LogEntry, OperationLog } from './testkit/faults/operation-log.ts';
import { listQuery } from './testkit/operations.ts';
import { hasPgBouncer, startPgBouncer } from './testkit/pgbouncer.ts';
import { until } from './testkit/process.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

// Each test creates two clusters, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const nothing = { lost: 0, duplicated: 0, unopenable: 0, wronglyTold: 0, brokenChains: 0 };
/** The primary commits a change only when its standby has it. */
const synchronous = 'synchronous_standby_names=standby';

const portOf = ({ url }: Cluster) => Number(new URL(url).port);
const locationOf = (url: string) => ({ kind: 'postgresql', url: new Secret(url) }) as const;

/** Starts a server on a URL, with clients that change connections until `endWith`. */
async function startLoad(stack: AsyncDisposableStack, url: string, statementTimeoutMs?: number) {
  const location = { ...locationOf(url), ...(statementTimeoutMs && { statementTimeoutMs }) };
  const server = await startTestServer({ location });
  stack.defer(() => server.close());
  const organisation = await server.newOrganisation();
  const journal = new OperationLog();
  const load = new LoadGenerator(journal, organisation.apiKey, () => [server.url]);
  load.start(8);
  stack.defer(() => load.stop());
  const acknowledgeMore = async () => {
    const { acknowledged } = journal.counts;
    await until(
      'changes are acknowledged',
      () => journal.counts.acknowledged > acknowledged + 50 || undefined,
    );
  };
  await acknowledgeMore();
  return {
    server,
    acknowledgeMore,
    /** Subscribes to changes, and returns a function that creates a connection and expects its event. */
    async watch() {
      const query = 'subscription { appConnectionChanged { connectionId } }';
      const changes = stack.use(await subscribe(server.graphqlUrl, organisation.apiKey, query));
      return async () => {
        const entry = new LogEntry('watched');
        journal.entries.push(entry);
        const created = await tryToCreate(server.url, organisation.apiKey, entry);
        const id = created?.data?.change?.appConnection.id;
        expect(id).toBeDefined();
        for (let last: unknown; last !== id; ) {
          const { data, errors } = await changes.next();
          expect(errors).toBeUndefined();
          last = Object(data?.appConnectionChanged).connectionId;
        }
      };
    },
    /** Stops the clients, and expects every acknowledged change in the database of a cluster. */
    async endWith(cluster: Cluster) {
      await load.stop();
      expect(journal.wrongAnswers).toEqual([]);
      expect(await lookInto(journal, locationOf(cluster.url), server.rootKey)).toEqual(nothing);
    },
  };
}

async function isReady({ url }: TestServer): Promise<boolean> {
  return (await fetch(`${url}/health/ready`)).status === 200;
}

async function setReadOnly(cluster: Cluster, isReadOnly: boolean): Promise<void> {
  const statement = 'alter system set default_transaction_read_only';
  await administer(`${statement} = ${isReadOnly ? 'on' : 'off'}`, cluster.url);
  await administer('select pg_reload_conf()', cluster.url);
}

const becomesReady = (server: TestServer) =>
  until('the server is ready', async () => (await isReady(server)) || undefined);
const becomesUnready = (server: TestServer) =>
  until('the server is not ready', async () => !(await isReady(server)) || undefined);

async function startPair(stack: AsyncDisposableStack, ...settings: string[]) {
  const primary = stack.use(await makeCluster('max_wal_senders=4', ...settings));
  const standby = stack.use(await makeStandby(primary));
  return { primary, standby };
}

async function startBehindAddress(stack: AsyncDisposableStack, ...settings: string[]) {
  const { primary, standby } = await startPair(stack, ...settings);
  const address: Address = stack.use(await openAddress(portOf(primary)));
  const url = `postgresql://postgres@127.0.0.1:${address.port}/postgres`;
  return { primary, standby, address, ...(await startLoad(stack, url)) };
}

describe.runIf(testDatabaseUrl && canMakeCluster)('a server on a primary with a standby', () => {
  test('goes on when its address leads to the standby for a while', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby, address, server, acknowledgeMore, watch, endWith } =
      await startBehindAddress(stack);
    const createAndReceive = await watch();
    address.leadTo(portOf(standby), { closes: true });
    await becomesUnready(server);
    address.leadTo(portOf(primary));
    await becomesReady(server);
    await acknowledgeMore();
    await createAndReceive();
    await endWith(primary);
  });

  test('loses nothing when the standby is promoted and the old primary stays as a reader', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby, address, server, acknowledgeMore, watch, endWith } =
      await startBehindAddress(stack);
    const createAndReceive = await watch();
    const following = primary.follow(standby);
    await becomesUnready(server);
    await following;
    standby.promote();
    address.leadTo(portOf(standby));
    await becomesReady(server);
    await acknowledgeMore();
    await createAndReceive();
    await endWith(standby);
  });

  test('loses nothing when the primary is killed and its synchronous standby is promoted', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby, address, server, acknowledgeMore, endWith } = await startBehindAddress(
      stack,
      synchronous,
    );
    await primary.kill();
    await becomesUnready(server);
    standby.promote();
    address.leadTo(portOf(standby));
    await becomesReady(server);
    await acknowledgeMore();
    await endWith(standby);
  });

  test('leaves a frozen primary as soon as its address leads to another one', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby } = await startPair(stack, synchronous);
    const address = stack.use(await openAddress(portOf(primary)));
    const url = `postgresql://postgres@127.0.0.1:${address.port}/postgres`;
    // Longer than this test waits, so that no statement ends by itself.
    const { server, acknowledgeMore, endWith } = await startLoad(stack, url, 100_000);
    primary.freeze();
    await becomesUnready(server);
    standby.promote();
    address.leadTo(portOf(standby));
    await acknowledgeMore();
    await endWith(standby);
  });

  test('leaves a primary that becomes read-only for one that is promoted', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby, address, acknowledgeMore, endWith } = await startBehindAddress(
      stack,
      synchronous,
    );
    await setReadOnly(primary, true);
    standby.promote();
    // Connections to the former primary stay open.
    address.leadTo(portOf(standby));
    await acknowledgeMore();
    await endWith(standby);
  });

  test('without requests, is ready only while its primary accepts changes', async () => {
    await using stack = new AsyncDisposableStack();
    const primary = stack.use(await makeCluster());
    const server = await startTestServer({ location: locationOf(primary.url) });
    stack.defer(() => server.close());
    await setReadOnly(primary, true);
    await becomesUnready(server);
    await setReadOnly(primary, false);
    await becomesReady(server);
  });

  test('is not ready while its synchronous standby does not answer, so that no change ends', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby } = await startPair(stack, synchronous);
    const { server, acknowledgeMore, endWith } = await startLoad(stack, primary.url);
    standby.freeze();
    await becomesUnready(server);
    standby.thaw();
    await becomesReady(server);
    await acknowledgeMore();
    await endWith(primary);
  });

  test('reads nothing from a standby', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby } = await startPair(stack);
    const address = stack.use(await openAddress(portOf(primary)));
    const url = `postgresql://postgres@127.0.0.1:${address.port}/postgres`;
    const server = await startTestServer({ location: locationOf(url) });
    stack.defer(() => server.close());
    const { client } = await server.newOrganisation();
    await client.request(listQuery);
    address.leadTo(portOf(standby), { closes: true });
    const [error] = await errorsOf(client.request(listQuery));
    expect(error?.extensions.code).toBe('SERVICE_UNAVAILABLE');
    address.leadTo(portOf(primary));
    await becomesReady(server);
    await client.request(listQuery);
  });

  test.runIf(hasPgBouncer())(
    'goes on when the address behind its pooler leads to the standby for a while',
    async () => {
      await using stack = new AsyncDisposableStack();
      const { primary, standby } = await startPair(stack);
      const address = stack.use(await openAddress(portOf(primary)));
      const behind = new URL(`postgresql://postgres@127.0.0.1:${address.port}/postgres`);
      const port = await startPgBouncer(stack, behind, 20);
      const { server, acknowledgeMore, watch, endWith } = await startLoad(
        stack,
        `postgresql://postgres@127.0.0.1:${port}/postgres`,
      );
      const createAndReceive = await watch();
      address.leadTo(portOf(standby), { closes: true });
      await becomesUnready(server);
      address.leadTo(portOf(primary), { closes: true });
      await becomesReady(server);
      await acknowledgeMore();
      await createAndReceive();
      await endWith(primary);
    },
  );

  test('finds the primary among the hosts of DATABASE_URL, in any order', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby } = await startPair(stack);
    const hosts = [standby, primary].map((cluster) => `127.0.0.1:${portOf(cluster)}`).join(',');
    const { server, acknowledgeMore, endWith } = await startLoad(
      stack,
      `postgresql://postgres@${hosts}/postgres?target_session_attrs=read-write`,
    );
    const following = primary.follow(standby);
    await becomesUnready(server);
    await following;
    standby.promote();
    await acknowledgeMore();
    await endWith(standby);
  });

  test('looks up the name of its host for each connection, and tries all of its addresses', async () => {
    await using stack = new AsyncDisposableStack();
    const { primary, standby } = await startPair(stack);
    const former = stack.use(await openAddress(portOf(primary), '127.0.0.1'));
    stack.use(await openAddress(portOf(standby), '127.0.0.2', former.port));
    const current = stack.use(await openAddress(portOf(primary), '127.0.0.3', former.port));
    let addresses = ['127.0.0.1'];
    const lookup = vi
      .spyOn(dns.promises, 'lookup')
      .mockImplementation((async () => addresses.map((address) => ({ address, family: 4 }))) as never);
    stack.defer(() => lookup.mockRestore());
    const { acknowledgeMore, endWith } = await startLoad(
      stack,
      `postgresql://postgres@db.example:${former.port}/postgres`,
    );
    addresses = ['127.0.0.2', '127.0.0.3'];
    const before = former.connections();
    former.leadTo(portOf(primary), { closes: true });
    await acknowledgeMore();
    expect(former.connections()).toBe(before);
    expect(current.connections()).toBeGreaterThan(0);
    await endWith(primary);
  });
});
