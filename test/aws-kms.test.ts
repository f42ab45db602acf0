import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GraphQLClient } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { DataKey } from '../src/encryption/data-key.entity.ts';
import { DecryptionError } from '../src/encryption/jwe.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
import { runProgram, startProgram } from './testkit/in-process.ts';
import { closesConnection, denied, silent, startKms, type TestKms, throttled } from './testkit/kms.ts';
import {
  byIdQuery,
  type ConnectionFields,
  type Created,
  createMutation,
  type Listed,
  listQuery,
  okta,
  verifyMutation,
} from './testkit/operations.ts';
import { closedPort, spawnServer, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

// Some of these start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 });

let kms: TestKms;
beforeAll(async () => {
  kms = await startKms();
  // The AWS SDK reads these variables.
  for (const [name, value] of Object.entries(kms.environment)) vi.stubEnv(name, value);
});
afterEach(() => kms.behave());
afterAll(async () => {
  vi.unstubAllEnvs();
  await kms.close();
});

/** Asserts that KMS and the logs contain no data key and no credential. */
function expectNoSecretIn(text: string): void {
  expect(kms.plaintexts.size).toBeGreaterThan(0);
  for (const secret of [...kms.plaintexts, ...kms.credentials]) expect(text).not.toContain(secret);
}

async function isReady(url: string): Promise<boolean> {
  return (await fetch(`${url}/health/ready`)).status === 200;
}

describe('a root key in AWS KMS', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ rootKeys: `k2:${kms.newKey()}` });
  });
  afterAll(() => server.close());

  const listDataKeys = (orgId: string) => server.asOwner().find(DataKey, { orgId });
  const getSealKeyId = (orgId: string) => server.asOwner().findOneOrFail(DataKey, { orgId, purpose: 'SEAL' });

  it('wraps each data key with its purpose as encryption context', async () => {
    const { orgId, client } = await server.newOrganisation();
    await client.request(createMutation, okta());
    const stored = await listDataKeys(orgId);
    expect(stored.map(({ rootKeyId }) => rootKeyId)).toEqual(['k2', 'k2', 'k2']);
    const wrapping = kms.requests.filter(
      ({ action, EncryptionContext: { org } }) => action === 'Encrypt' && org === orgId,
    );
    expect(wrapping.map(({ EncryptionContext }) => EncryptionContext)).toEqual(
      expect.arrayContaining(
        stored.map(({ id, purpose }) => ({ dk: id, org: orgId, use: purpose, rows: 'mac' })),
      ),
    );
    expect(wrapping).toHaveLength(3);
    expectNoSecretIn(await server.dump());
    expectNoSecretIn(server.logs());
  });

  it('does not unwrap a data key moved to another row, because the encryption context differs', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const [own, other] = [await getSealKeyId(mine.orgId), await getSealKeyId(theirs.orgId)];
    const whose = { orgId: mine.orgId, connectionId: mine.projectId };
    const binding = { ...whose, app: 'okta', method: 'api-token', host: '' };
    const seal = () => server.restartedVault().seal(server.asOwner(), binding, {});
    await server.asOwner().nativeUpdate(DataKey, { id: own.id }, { wrapped: other.wrapped });
    await expect(seal()).rejects.toThrow(DecryptionError);
    await server.asOwner().nativeUpdate(DataKey, { id: own.id }, { wrapped: own.wrapped });
    await seal();
  });

  it('is not used again for unwrapped data keys', async () => {
    const { orgId, client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    const before = kms.requests.length;
    await client.request(byIdQuery, { id });
    await client.request(listQuery);
    await client.request(createMutation, okta({ name: 'another' }));
    await client.request(verifyMutation, { id });
    expect(await isReady(server.url)).toBe(true);
    const requests = kms.requests.slice(before);
    expect(requests.filter(({ EncryptionContext: { org } }) => org === orgId)).toEqual([]);
  });

  it.runIf(testDatabaseUrl)(
    'is used once per data key after a restart by concurrent writes, and not at all by reads',
    async () => {
      const { orgId, apiKey, client } = await server.newOrganisation();
      await client.request(createMutation, okta());
      const restarted = await startTestServer({ beside: server });
      const again = restarted.clientFor(apiKey);
      const before = kms.requests.length;
      const requests = () =>
        kms.requests
          .slice(before)
          .filter(({ EncryptionContext: { org } }) => org === orgId)
          .map(({ action, EncryptionContext: { use } }) => `${action} ${use}`);
      expect((await again.request<Listed>(listQuery)).appConnections.totalCount).toBe(1);
      expect(requests()).toEqual([]);
      const creates = Array.from({ length: 20 }, (_, index) => okta({ name: `at-once-${index}` }));
      await Promise.all(creates.map((variables) => again.request(createMutation, variables)));
      expect(requests().sort()).toEqual(['Decrypt AUDIT', 'Decrypt FINGERPRINT', 'Decrypt SEAL']);
      await restarted.close();
    },
  );

  it.runIf(testDatabaseUrl).each([
    [
      'denies',
      denied,
      'refused the credentials, or they lack permission for this key (AccessDeniedException)',
    ],
    ['throttles', throttled, 'throttled the request (ThrottlingException)'],
    ['closes the connection', closesConnection, 'could not be reached (ECONNRESET)'],
    ['does not answer', silent, 'did not answer within 5 s (AbortError)'],
    ['fails', () => ({ status: 500, error: 'KMSInternalException' }), 'failed (KMSInternalException)'],
  ])('fails the create with a clear error and loses nothing else when KMS %s', async (_, behaviour, why) => {
    const { apiKey, client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    const restarted = await startTestServer({ beside: server });
    const again = restarted.clientFor(apiKey);

    kms.behave(behaviour);
    const variables = okta({ name: 'another' }, { apiToken: 'planted-planted-planted' });
    const [error] = await errorsOf(again.request(createMutation, variables));
    expect(error).toMatchObject({
      message: 'The key management service of this server did not respond or refused the request.',
      extensions: { code: 'UPSTREAM_UNREACHABLE', remedy: expect.stringContaining('Try again later') },
    });
    const { appConnection } = await again.request<{ appConnection: ConnectionFields }>(byIdQuery, { id });
    expect(appConnection.name).toBe('my-okta-connection');
    expect(await isReady(restarted.url)).toBe(true);
    // A server that has unwrapped the data key is not affected.
    await client.request(verifyMutation, { id });

    expect(restarted.logs()).toContain(`the root key \\"k2\\" cannot be used: AWS KMS ${why}`);
    expectNoSecretIn(JSON.stringify(error) + restarted.logs());
    expect(restarted.logs()).not.toContain('planted');

    kms.behave();
    // A request for another data key that KMS did not answer may still wait for its time-out.
    await until('a create succeeds', () => again.request(createMutation, variables).catch(() => undefined));
    await again.request(verifyMutation, { id });
    expect((await again.request<Listed>(listQuery)).appConnections.totalCount).toBe(2);
    await restarted.close();
  });
});

describe('a server with KMS', () => {
  it('logs one line when it starts while KMS is unreachable, and recovers with KMS', async () => {
    await using stack = new AsyncDisposableStack();
    const settings = {
      ...(await lastingData(stack)).environment,
      ...kms.environment,
      ENCRYPTION_KEYS: `k2:${kms.newKey()}`,
      BOOTSTRAP_API_KEY: randomBytes(24).toString('hex'),
    };
    const lastWords = async (environment?: Record<string, string>) => {
      // The AWS SDK reads its settings from the environment of the process.
      await using server = (environment ? spawnServer : startProgram)({ ...settings, ...environment });
      expect(await server.ended()).toEqual({ code: 1, signal: null });
      expect(server.stderr()).toMatch(/^Cannot start: [^\n]+\n$/);
      expectNoSecretIn(server.stdout() + server.stderr());
      return server.stderr();
    };
    const why = 'the root key "k2" cannot be used: AWS KMS refused the credentials';
    kms.behave(denied);
    expect(await lastWords()).toContain(why);
    const nowhere = { AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${await closedPort()}` };
    expect(await lastWords(nowhere)).toContain('AWS KMS could not be reached (ECONNREFUSED)');

    kms.behave();
    const headers = { authorization: `Bearer ${settings.BOOTSTRAP_API_KEY}` };
    const first = stack.use(startProgram(settings));
    const client = new GraphQLClient(`${await first.ready()}/graphql`, { headers });
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    first.kill('SIGTERM');
    await first.ended();

    kms.behave(denied);
    expect(await lastWords()).toContain(`ENCRYPTION_KEYS: ${why}`);
    expect((await runProgram('keys', settings, 'rotate')).stderr).toContain(`ENCRYPTION_KEYS: ${why}`);
    // Counting needs no key.
    expect((await runProgram('keys', settings, 'status')).stdout).toMatch(/^k2 +7 +1 /m);

    kms.behave();
    const next = stack.use(startProgram(settings));
    const again = new GraphQLClient(`${await next.ready()}/graphql`, { headers });
    expect(await again.request(verifyMutation, { id })).toEqual({
      verifyAppConnection: { appConnection: { verification: { status: 'VERIFIED' } } },
    });
    expectNoSecretIn(next.stdout() + next.stderr());
  });

  it('rotates from a local root key to a KMS key and back', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const file = join(data.DATA_DIR ?? '', 'keys');
    const [local, remote] = [rootKey('k1'), `k2:${kms.newKey()}`];
    const settings = { ...data, ...kms.environment, ENCRYPTION_KEYS_FILE: file };
    const apiKey = randomBytes(24).toString('hex');
    const headers = { authorization: `Bearer ${apiKey}` };
    let id = '';
    // The embedded database allows one process, so the server stops for the rotation.
    const serve = async (keys: string, work: (client: GraphQLClient) => Promise<unknown>) => {
      writeFileSync(file, keys);
      await using server = startProgram({ ...settings, BOOTSTRAP_API_KEY: apiKey });
      await work(new GraphQLClient(`${await server.ready()}/graphql`, { headers }));
      server.kill('SIGTERM');
      await server.ended();
    };
    const rotate = async (keys: string) => {
      writeFileSync(file, keys);
      expect(await runProgram('keys', settings, 'rotate', '--reseal')).toMatchObject({
        code: 0,
        stderr: '',
      });
    };
    const verify = (client: GraphQLClient) => client.request(verifyMutation, { id });

    await serve(local, async (client) => {
      const { createOktaConnection } = await client.request<Created>(createMutation, okta());
      id = createOktaConnection.appConnection.id;
    });
    await rotate(`${remote},${local}`);
    await serve(remote, verify);
    const before = kms.requests.length;
    await rotate(`${local},${remote}`);
    expect(kms.requests.length).toBeGreaterThan(before);
    await serve(local, verify);
  });

  it.runIf(testDatabaseUrl)('does not activate a KMS key that fails in a running server', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const file = join(data.DATA_DIR ?? '', 'keys');
    const local = rootKey('k1');
    writeFileSync(file, local);
    const server = stack.use(spawnServer({ ...data, ...kms.environment, ENCRYPTION_KEYS_FILE: file }));
    await server.ready();
    writeFileSync(file, `k2:${kms.newKey()},${local}`);
    kms.behave(denied);
    server.kill('SIGHUP');
    await until(
      'the reload has failed',
      () => server.stdout().includes('the previous keys stay in use') || undefined,
    );
    expect(server.stdout()).toMatch(/\\"k2\\" cannot be used: AWS KMS refused.*"rootKeyIds":\["k1"\]/);
    kms.behave();
    server.kill('SIGHUP');
    await until(
      'the reload has succeeded',
      () => server.stdout().includes('"rootKeyIds":["k2","k1"]') || undefined,
    );
    expectNoSecretIn(server.stdout() + server.stderr());
  });
});
