import { randomBytes, randomUUID } from 'node:crypto';
import type { EventArgs } from '@mikro-orm/core';
import { GraphQLClient, gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { Secret } from '../src/common/secret.ts';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { inSession, lazyScopedEntityManager, ownerSession } from '../src/database/driver/session.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { DataKey } from '../src/encryption/data-key.entity.ts';
import { parseKeyring } from '../src/encryption/keyring.ts';
import { Vault } from '../src/encryption/vault.ts';
import { rotateKeys } from '../src/key-rotation/rotate-keys.ts';
import { emptyDatabase, lastingData, testDatabaseUrl } from './testkit/database.ts';
import { runProgram, startProgram } from './testkit/in-process.ts';
import { rotateUnderLoad } from './testkit/key-rotation.ts';
import { type KmsBehaviour, startKms, type TestKms } from './testkit/kms.ts';
import { startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { type ScriptProcess, spawnScript, temporaryFolder, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { fakeParcelDepot, parcelDepot } from './testkit/second-app.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

// Some of these start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 });

const verifyMutation = gql`
  mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { verification { status } } } }
`;
const updateMutation = gql`
  mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { id version } }
  }
`;

const createDepotMutation = gql`
  mutation ($input: CreateParcelDepotConnectionInput!) {
    createParcelDepotConnection(input: $input) { appConnection { id } }
  }
`;
const updateDepotMutation = gql`
  mutation ($id: UUID!, $input: UpdateParcelDepotConnectionInput!) {
    updateParcelDepotConnection(id: $id, input: $input) { appConnection { id version } }
  }
`;

const createServiceAppMutation = gql`
  mutation ($input: CreateOktaConnectionInput!) {
    createOktaConnection(input: $input) {
      appConnection { id credentials { ... on OktaServiceAppCredentials { jwksUrl keys { publicJwk } } } }
    }
  }
`;

interface WithKeys {
  createOktaConnection: {
    appConnection: { id: string; credentials: { jwksUrl: string; keys: { publicJwk: object }[] } };
  };
}

const verified = { verifyAppConnection: { appConnection: { verification: { status: 'VERIFIED' } } } };

/** An Okta that takes one token and no other. */
async function oktaOf(token: () => string): Promise<TestOkta> {
  return startOkta({
    handler: (request, response) =>
      (request.headers.authorization === `SSWS ${token()}` ? handleFakeOkta : tokenRejected)(
        request,
        response,
      ),
  });
}

describe('rotation of encryption keys', () => {
  const everything = gql`
    {
      appConnections(first: 10) {
        nodes { id name description version createdAt updatedAt credentialsHash verification { status checkedAt } }
      }
    }
  `;

  test('re-encrypts every connection, also deleted ones, and changes nothing else', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const token = randomBytes(20).toString('hex');
    const strict = stack.use(await oktaOf(() => token));
    const [old, next] = [rootKey('old'), rootKey('next')];
    const apiKey = randomBytes(24).toString('hex');
    const settings = { ...data, BOOTSTRAP_API_KEY: apiKey, TRUSTED_INSTANCE_HOSTS: strict.hostPort };
    const headers = { authorization: `Bearer ${apiKey}` };
    const serve = async (keys: string, work: (client: GraphQLClient) => Promise<void>) => {
      await using server = startProgram({ ...settings, ENCRYPTION_KEYS: keys });
      await work(new GraphQLClient(`${await server.ready()}/graphql`, { headers }));
      server.kill('SIGTERM');
      await server.ended();
    };
    const input = (name: string) => okta({ name }, { instanceUrl: strict.origin, apiToken: token });

    const ids: string[] = [];
    let before: unknown;
    let hash = '';
    await serve(old, async (client) => {
      for (const name of ['one', 'two', 'deleted']) {
        const { createOktaConnection } = await client.request<Created>(createMutation, input(name));
        ids.push(createOktaConnection.appConnection.id);
        hash = createOktaConnection.appConnection.credentialsHash;
      }
      await client.request(updateMutation, { id: ids[1], input: { description: 'changed once' } });
      await client.request('mutation ($id: UUID!) { deleteAppConnection(id: $id) { id } }', { id: ids[2] });
      before = await client.request(everything);
    });

    const rotated = await runProgram(
      'keys',
      { ...settings, ENCRYPTION_KEYS: `${next},${old}` },
      'rotate',
      '--reseal',
    );
    expect(rotated).toMatchObject({ code: 0, stderr: '' });
    expect(rotated.stdout).toContain('3 connections encrypted again');

    await serve(next, async (client) => {
      expect(await client.request(everything)).toEqual(before);
      await client.request(
        'mutation ($id: UUID!) { restoreAppConnection(id: $id) { appConnection { id } } }',
        {
          id: ids[2],
        },
      );
      for (const id of ids) expect(await client.request(verifyMutation, { id })).toEqual(verified);
      // The key that makes hashes is the same.
      const { createOktaConnection } = await client.request<Created>(createMutation, input('again'));
      expect(createOktaConnection.appConnection.credentialsHash).toBe(hash);
      const { auditEvents } = await client.request<{ auditEvents: { nodes: { action: string }[] } }>(
        '{ auditEvents(first: 50) { nodes { action keyId changedFields outcome connectionId } } }',
      );
      expect(auditEvents.nodes.filter(({ action }) => action === 'ROTATE_KEYS')).toEqual([
        {
          ...{ action: 'ROTATE_KEYS', keyId: null, outcome: 'OK', connectionId: null },
          changedFields: ['rootKey', 'sealKey'],
        },
      ]);
      expect(auditEvents.nodes.filter(({ action }) => action === 'UPDATE_CONNECTION')).toHaveLength(1);
    });
    const audit = await runProgram('audit:verify', { ...settings, ENCRYPTION_KEYS: next });
    expect(audit).toMatchObject({ code: 0, stderr: '' });
  });

  /** A server that rotates its keys, and then does something else, after it has first read a connection. */
  async function startRotatingAfterRead(
    stack: AsyncDisposableStack,
    afterRotation: (client: GraphQLClient, id: string) => Promise<unknown> = async () => undefined,
  ) {
    const { location } = await lastingData(stack);
    const depot = stack.use(await startOkta({ handler: fakeParcelDepot }));
    const trustedHosts = new Set([depot.hostPort]);
    const apps = [...createApps({ trustedHosts }), parcelDepot({ origin: depot.origin })];
    const [old, next] = [rootKey('old'), rootKey('next')];
    const options = {
      ...{ location, apps, rootKeys: `${old},${next}` },
      config: { trustedInstanceHosts: trustedHosts },
    };
    const before = await startTestServer(options);
    const { apiKey, client } = await before.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    const secrets = { clientSecret: 'the-client-secret', signingKey: 'the-signing-key' };
    const input = {
      ...{ name: 'my-depot', method: 'SIGNED_REQUESTS' },
      credentials: { clientId: 'c-12345', ...secrets },
    };
    const { createParcelDepotConnection } = await client.request<{
      createParcelDepotConnection: Created['createOktaConnection'];
    }>(createDepotMutation, { input });
    await before.close();

    const server = await startTestServer(options);
    stack.defer(() => server.close());
    const { database } = server;
    const vault = new Vault(parseKeyring(new Secret(`${next},${old}`)), createLog('silent'));
    let rotated: Awaited<ReturnType<typeof rotateKeys>> | undefined;
    let hasBegun = false;
    database.subscribe({
      getSubscribedEntities: () => [AppConnection],
      async onLoad({ entity: { id } }: EventArgs<AppConnection>) {
        if (hasBegun) return;
        hasBegun = true;
        rotated = await rotateKeys({ apps, database, vault }, { reseal: true, onProgress: () => {} });
        await afterRotation(server.clientFor(apiKey), id);
      },
    });
    return {
      ...{ server, client: server.clientFor(apiKey) },
      oktaId: createOktaConnection.appConnection.id,
      depotId: createParcelDepotConnection.appConnection.id,
      assertRotated: () => expect(rotated).toMatchObject({ sealKeys: 2, failures: [] }),
    };
  }

  test.each<[string, (client: GraphQLClient, id: string) => Promise<unknown>, unknown]>([
    ['verifies', (client, id) => client.request(verifyMutation, { id }), verified],
    [
      'updates',
      (client, id) =>
        client.request(updateMutation, { id, input: { credentials: { apiToken: 'another-good-token' } } }),
      { updateOktaConnection: { appConnection: { id: expect.any(String), version: 2 } } },
    ],
  ])(
    'completes between the read and the decryption of a connection, which a new server then %s',
    async (_, use, answer) => {
      await using stack = new AsyncDisposableStack();
      const { server, client, oktaId, assertRotated } = await startRotatingAfterRead(stack);
      expect(await use(client, oktaId)).toEqual(answer);
      assertRotated();
      expect(server.logs()).not.toContain('do not open');
    },
  );

  test('completes, and the credentials are replaced, between the read and the decryption of a connection: the new ones are verified', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, client, oktaId, assertRotated } = await startRotatingAfterRead(stack, (client, id) =>
      client.request(updateMutation, { id, input: { credentials: { apiToken: 'another-good-token' } } }),
    );
    expect(await client.request(verifyMutation, { id: oktaId })).toEqual(verified);
    assertRotated();
    expect(server.logs()).not.toContain('do not open');
  });

  test('completes, and a secret is replaced, between the read and the decryption of a connection: an update of another secret keeps it', async () => {
    await using stack = new AsyncDisposableStack();
    const update = (client: GraphQLClient, id: string, credentials: object) =>
      client.request<object>(updateDepotMutation, { id, input: { credentials } });
    const { server, client, depotId, assertRotated } = await startRotatingAfterRead(stack, (client, id) =>
      update(client, id, { clientSecret: 'another-client-secret', signingKey: 'another-signing-key' }),
    );
    expect(await update(client, depotId, { signingKey: 'the-last-signing-key' })).toEqual({
      updateParcelDepotConnection: { appConnection: { id: depotId, version: 3 } },
    });
    assertRotated();
    const em = server.asOwner();
    const populate = ['sealedCredentials', 'mac'] as const;
    const row = await em.findOneOrFail(AppConnection, { id: depotId }, { populate });
    const binding = {
      ...{
        orgId: row.orgId,
        connectionId: depotId,
        app: 'parcel-depot',
        method: 'signed-requests',
        host: '',
      },
    };
    const sealed = { text: row.sealedCredentials, dataKeyId: row.dataKeyId };
    const opened = await server.vault.open(em, binding, sealed);
    expect(opened.clientSecret?.reveal()).toBe('another-client-secret');
    expect(opened.signingKey?.reveal()).toBe('the-last-signing-key');
  });

  test('completes, and the connection is purged, between the read and the decryption of the connection: it is not found', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, client, oktaId, assertRotated } = await startRotatingAfterRead(stack, (client, id) =>
      client.request('mutation ($id: UUID!) { deleteAppConnection(id: $id, purge: true) { id } }', { id }),
    );
    const [error] = await errorsOf(client.request(verifyMutation, { id: oktaId }));
    expect(error?.extensions.code).toBe('NOT_FOUND');
    assertRotated();
    expect(server.logs()).not.toContain('do not open');
  });

  test.each(['in another process', 'in a process that has encrypted under the old key'])(
    'with --reseal %s leaves nothing encrypted under the old key, also later',
    async (by) => {
      await using stack = new AsyncDisposableStack();
      const [old, next] = [rootKey('old'), rootKey('next')];
      const server = await startTestServer({ rootKeys: `${old},${next}` });
      stack.defer(() => server.close());
      const { orgId, client } = await server.newOrganisation();
      const make = async (name: string) =>
        (await client.request<Created>(createMutation, okta({ name }))).createOktaConnection.appConnection.id;
      const ids = [await make('before')];
      const { input } = okta({ name: 'service-app', method: 'SERVICE_APP' });
      const { createOktaConnection: made } = await client.request<WithKeys>(createServiceAppMutation, {
        input: {
          ...input,
          credentials: {
            instanceUrl: 'https://example.okta.com',
            ...{ clientId: '0oa1ab2cd3EF4GH5i0d7', scopes: ['okta.users.read'] },
          },
        },
      });
      const { id: serviceAppId, credentials } = made.appConnection;
      ids.push(serviceAppId);

      const first = parseKeyring(new Secret(`${next},${old}`));
      const vault = by === 'in another process' ? new Vault(first, createLog('silent')) : server.vault;
      vault.dataKeys.keyring = first;
      const { database } = server;
      const apps = createApps({ trustedHosts: new Set() });
      const rotated = await rotateKeys({ apps, database, vault }, { reseal: true, onProgress: () => {} });
      expect(rotated).toMatchObject({ failures: [] });
      expect(rotated.sealKeys).toBeGreaterThan(0);
      ids.push(await make('after'));

      const retired = { orgId, purpose: 'SEAL', retiredAt: { $ne: null } } as const;
      const destroyed = await server.asOwner().find(DataKey, retired);
      expect(destroyed.map(({ wrapped }) => wrapped)).toEqual(['']);
      const active = { orgId, purpose: 'SEAL', retiredAt: null } as const;
      const { id: dataKeyId } = await server.asOwner().findOneOrFail(DataKey, active);
      const rows = await server.asOwner().find(AppConnection, { orgId });
      expect(rows.map((row) => row.dataKeyId)).toEqual(ids.map(() => dataKeyId));
      for (const id of ids) expect(await client.request(verifyMutation, { id })).toEqual(verified);
      // The key pair that the server has made is the same, and still signs.
      const published = await (await fetch(credentials.jwksUrl)).json();
      expect(published).toEqual({ keys: credentials.keys.map(({ publicJwk }) => publicJwk) });
    },
  );
});

test('records the wrapping root key for data keys that were created by an earlier version', async () => {
  await using database = await emptyDatabase();
  const orm = await openOrm(database.location, entities, createLog('silent'));
  await inSession(ownerSession, () => orm.migrator.up({ to: '0005-access' }));
  const em = lazyScopedEntityManager(() => orm.em.fork(), ownerSession);
  await em.execute(
    `insert into data_key (id, org_id, purpose, wrapped, root_key_id, created_at) values (?, ?, 'SEAL', '', 'k1', now())`,
    [randomUUID(), randomUUID()],
  );
  await inSession(ownerSession, () => orm.migrator.up());
  expect(await em.execute('select root_key_id, made_under from data_key')).toEqual([
    { root_key_id: 'k1', made_under: 'k1' },
  ]);
  await orm.close(true);
});

describe.runIf(testDatabaseUrl)('rotation of encryption keys on PostgreSQL while servers are running', () => {
  let kms: TestKms;
  beforeAll(async () => {
    kms = await startKms();
    for (const [name, value] of Object.entries(kms.environment)) vi.stubEnv(name, value);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await kms.close();
  });

  /** A server that has `old` in front, and what a rotation needs to know that has `next` there. */
  async function start(stack: AsyncDisposableStack, old = rootKey('old')) {
    const next = rootKey('next');
    const folder = stack.use(temporaryFolder());
    const trusted = stack.use(await startOkta());
    const config = { trustedInstanceHosts: new Set([trusted.hostPort]) };
    const server = await startTestServer({ rootKeys: `${old},${next}`, config });
    stack.defer(() => server.close());
    const { location } = server;
    const environment = {
      ...kms.environment,
      DATA_DIR: folder.path,
      DATABASE_URL: location.kind === 'postgresql' ? location.url.reveal() : '',
      ENCRYPTION_KEYS: `${next},${old}`,
    };
    const rotate = () => spawnScript('launch.js', environment, 'keys', 'rotate', '--reseal');
    return { server, environment, old, next, rotate };
  }

  /** Under what a connection is sealed now. */
  async function sealKeyOf(
    server: TestServer,
    id: string,
  ): Promise<Pick<DataKey, 'madeUnder' | 'retiredAt'>> {
    const { dataKeyId } = await server.asOwner().findOneOrFail(AppConnection, { id });
    const { madeUnder, retiredAt } = await server.asOwner().findOneOrFail(DataKey, { id: dataKeyId });
    return { madeUnder, retiredAt };
  }

  const isNew = { madeUnder: 'next', retiredAt: null };

  /** How many statements wait for a lock. */
  async function waiting(server: TestServer): Promise<number> {
    const { count } = await server.asOwner().execute<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`,
      [],
      'get',
    );
    return count;
  }

  /** Delays the first use of the key for hashes: at that point, credentials are sealed and not yet stored. */
  function holdAfterSealing() {
    const [held, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let isFirst = true;
    const behaviour: KmsBehaviour = ({ action, EncryptionContext: { use } }) => {
      if (!isFirst || action !== 'Decrypt' || use !== 'FINGERPRINT') return undefined;
      isFirst = false;
      held.resolve();
      return released.promise.then(() => undefined);
    };
    kms.behave(behaviour);
    return { held: held.promise, release: released.resolve };
  }

  /**
   * Starts a rotation and stops it before its first change, so that the time in which its process starts does not count
   * towards the time-out of a request to KMS.
   */
  async function rotateUpToFirstChange(server: TestServer, rotate: () => ScriptProcess, orgId: string) {
    const locker = server.asOwner();
    await locker.begin();
    // Changes of the data keys wait for this lock; connections that refer to them do not.
    await locker.execute('select from data_key where org_id = ? for no key update', [orgId]);
    const rotation = rotate();
    await until('the rotation waits', async () => (await waiting(server)) === 1 || undefined);
    return { rotation, goOn: () => locker.commit() };
  }

  test('re-encrypts credentials that were encrypted before their key was retired and stored afterwards', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, rotate } = await start(stack, `old:${kms.newKey()}`);
    const { orgId, client } = await server.newOrganisation();
    const { rotation, goOn } = await rotateUpToFirstChange(server, rotate, orgId);
    stack.use(rotation);
    const hold = holdAfterSealing();
    const creating = client.request<Created>(createMutation, okta());
    await hold.held;
    await goOn();
    expect(await rotation.ended()).toEqual({ code: 0, signal: null });
    hold.release();
    const { id } = (await creating).createOktaConnection.appConnection;
    expect(await sealKeyOf(server, id)).toEqual(isNew);
    expect(await client.request(verifyMutation, { id })).toEqual(verified);
  });

  test('re-encrypts credentials that were replaced during a rotation', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, rotate } = await start(stack, `old:${kms.newKey()}`);
    const { orgId, apiKey, client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    const restarted = await startTestServer({ beside: server });
    stack.defer(() => restarted.close());
    const { rotation, goOn } = await rotateUpToFirstChange(server, rotate, orgId);
    stack.use(rotation);
    const hold = holdAfterSealing();
    const input = { credentials: { apiToken: 'another-good-token' } };
    const updating = restarted.clientFor(apiKey).request(updateMutation, { id, input });
    await hold.held;
    await goOn();
    expect(await rotation.ended()).toEqual({ code: 0, signal: null });
    expect(rotation.stdout()).toContain('1 connection encrypted again');
    hold.release();
    expect(await updating).toMatchObject({ updateOktaConnection: { appConnection: { version: 2 } } });
    expect(await sealKeyOf(server, id)).toEqual(isNew);
    const vault = server.restartedVault();
    const row = await server
      .asOwner()
      .findOneOrFail(AppConnection, { id }, { populate: ['sealedCredentials'] });
    const whose = { orgId: row.orgId, connectionId: id, app: 'okta', method: 'api-token' };
    const binding = { ...whose, host: 'example.okta.com' };
    const sealed = { text: row.sealedCredentials ?? '', dataKeyId: row.dataKeyId };
    const { apiToken } = await vault.open(server.asOwner(), binding, sealed);
    expect(apiToken?.reveal()).toBe('another-good-token');
  });

  test('waits for uncommitted transactions, and re-encrypts what they stored', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, rotate } = await start(stack);
    const { orgId, client } = await server.newOrganisation();
    // The audit event is stored after the connection; another event with the same number blocks it.
    const obstacle = server.asOwner();
    await obstacle.begin();
    await obstacle.execute(
      `insert into audit_event (org_id, seq, at, action, outcome, fields, previous_hash, hash)
        select id, 1 + (select count(*) from audit_event where org_id = id), now(), 'SIGN_IN', 'OK', '{}', '', ''
        from organisation where id = ?`,
      [orgId],
    );
    const creating = client.request<Created>(createMutation, okta());
    await until('the create waits', async () => (await waiting(server)) === 1 || undefined);
    await using rotation = rotate();
    let hasEnded = false;
    void rotation.ended().then(() => {
      hasEnded = true;
    });
    await until('the rotation waits too', async () => hasEnded || (await waiting(server)) === 2 || undefined);
    expect(hasEnded).toBe(false);
    await obstacle.rollback();
    const { id } = (await creating).createOktaConnection.appConnection;
    expect(await rotation.ended()).toEqual({ code: 0, signal: null });
    expect(await sealKeyOf(server, id)).toEqual(isNew);
  });

  test('keeps credentials that were replaced while the old ones were being re-encrypted', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, rotate } = await start(stack);
    const { orgId, client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    const stored = () =>
      server.asOwner().findOneOrFail(AppConnection, { id }, { populate: ['sealedCredentials'] });
    const { sealedCredentials: before, dataKeyId } = await stored();
    const whose = { orgId, connectionId: id, app: 'okta', method: 'api-token', host: 'example.okta.com' };
    // The transaction that updates it holds the row, and commits once the rotation has sealed what was there before.
    const another = { apiToken: new Secret('another-good-token') };
    const { text } = await server.vault.seal(server.asOwner(), whose, another);
    const update = server.asOwner();
    await update.begin();
    const row = await server
      .asOwner()
      .findOneOrFail(AppConnection, { id }, { populate: ['sealedCredentials', 'mac'] });
    const macs = await server.vault.rowMacs(update);
    const { mac } = macs.signed(update, AppConnection, { ...row, sealedCredentials: text });
    await update.execute('update app_connection set sealed_credentials = ?, mac = ? where id = ?', [
      ...[text, mac, id],
    ]);
    await using rotation = rotate();
    await until('the rotation waits', async () => (await waiting(server)) === 1 || undefined);
    await update.commit();
    expect(await rotation.ended()).toEqual({ code: 0, signal: null });
    const after = await stored();
    expect(after.sealedCredentials).not.toBe(before);
    expect(after.dataKeyId).not.toBe(dataKeyId);
    const sealed = { text: after.sealedCredentials ?? '', dataKeyId: after.dataKeyId };
    const { apiToken } = await server.vault.open(server.asOwner(), whose, sealed);
    expect(apiToken?.reveal()).toBe('another-good-token');
    expect(await sealKeyOf(server, id)).toEqual(isNew);
  });

  test('rotates an organisation that was created during the rotation under the old root key', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, environment, old, next, rotate } = await start(stack);
    const { client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    const holder = server.asOwner();
    await holder.begin();
    await holder.execute('select from app_connection where id = ? for update', [id]);
    await using rotation = rotate();
    await until('the rotation waits', async () => (await waiting(server)) === 1 || undefined);
    const behind = { ...environment, ENCRYPTION_KEYS: `${old},${next}` };
    expect(await runProgram('admin', behind, 'create-organisation', '--name', 'Late')).toMatchObject({
      code: 0,
    });
    expect(await server.asOwner().count(DataKey, { rootKeyId: 'old' })).toBe(3);
    await holder.commit();
    expect(await rotation.ended()).toEqual({ code: 0, signal: null });
    expect(await server.asOwner().count(DataKey, { rootKeyId: 'old' })).toBe(0);
    expect(
      await server.asOwner().count(DataKey, { purpose: 'SEAL', retiredAt: null, madeUnder: 'old' }),
    ).toBe(0);
  });

  test('reports and keeps credentials that do not decrypt, and rotates all others', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, rotate } = await start(stack);
    const [one, other] = [await server.newOrganisation(), await server.newOrganisation()];
    const ids: string[] = [];
    for (const { client } of [one, one, other]) {
      const name = `n-${ids.length}`;
      const { createOktaConnection } = await client.request<Created>(createMutation, okta({ name }));
      ids.push(createOktaConnection.appConnection.id);
    }
    await server.asOwner().execute(
      `update app_connection set sealed_credentials = (select sealed_credentials from app_connection where id = ?)
        where id = ?`,
      [ids[1] ?? '', ids[0] ?? ''],
    );
    const fingerprint = { orgId: other.orgId, purpose: 'FINGERPRINT' } as const;
    // The first of all is opened before anything is rotated, and this is not to be the first.
    const brokenKey = 'ffffffff-ffff-4fff-bfff-ffffffffffff';
    await server.asOwner().nativeUpdate(DataKey, fingerprint, { id: brokenKey, wrapped: 'broken' });
    await using rotation = rotate();
    expect(await rotation.ended()).toEqual({ code: 1, signal: null });
    expect(rotation.stderr()).toMatch(/^Command failed: not rotated: [^\n]+\n$/);
    expect(rotation.stderr()).toContain(`data key ${brokenKey} of organisation ${other.orgId}`);
    expect(rotation.stderr()).toContain(`connection ${ids[0]} of organisation ${one.orgId}`);
    expect(await server.asOwner().count(DataKey, { rootKeyId: 'old' })).toBe(1);
    expect(await sealKeyOf(server, ids[0] ?? '')).toMatchObject({ madeUnder: 'old' });
    for (const id of ids.slice(1)) expect(await sealKeyOf(server, id)).toEqual(isNew);
  });

  test('completes for hundreds of connections when killed twice, without a failed request', async () => {
    await using database = await emptyDatabase();
    const { location } = database;
    if (location.kind !== 'postgresql') throw new Error('this needs a PostgreSQL');
    const size = { connections: 200, organisations: 2, workers: 4, sample: 25 };
    const proof = await rotateUnderLoad({ ...size, databaseUrl: location.url }, () => {});
    expect(proof.failures).toEqual([]);
    expect(proof.left).toEqual({ dataKeysOnOldRoot: 0, onRetiredDataKeys: 0, onKeysOfOldRoot: 0 });
    expect(proof.opened).toBeGreaterThanOrEqual(size.connections);
    expect(proof.verified).toBe(size.sample);
    expect(proof.leftWhenKilled.every((left) => left > 0)).toBe(true);
    for (const count of Object.values(proof.requests)) expect(count).toBeGreaterThan(0);
  });
});
