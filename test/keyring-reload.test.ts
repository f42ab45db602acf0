import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { openStores } from '../src/bootstrap/stores.ts';
import { createLog } from '../src/common/log.ts';
import { readConfig } from '../src/config/read-config.ts';
import { DataKey } from '../src/encryption/data-key.entity.ts';
import { lastingData } from './testkit/database.ts';
import { startProgram } from './testkit/in-process.ts';
import { type ServerProcess, spawnServer, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer } from './testkit/server.ts';

// Some of these start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

describe('running server on SIGHUP', () => {
  async function start(
    stack: AsyncDisposableStack,
    fileName: string,
    settings: Record<string, string> = {},
    startServer = startProgram,
  ) {
    const { environment: data } = await lastingData(stack);
    const file = join(data.DATA_DIR ?? '', fileName);
    const old = rootKey('old');
    writeFileSync(file, old);
    const environment = Object.fromEntries(
      Object.entries(settings).map(([name, value]) => [name, value === 'FILE' ? file : value]),
    );
    const server = stack.use(startServer({ ...data, ...environment }));
    const url = await server.ready();
    return { server, url, file, old, data };
  }

  /** Waits for the log line of the next reload. */
  async function reload(
    server: ServerProcess,
  ): Promise<{ level: string; rootKeyIds: string[]; reason?: string }> {
    const before = server.stdout().length;
    server.kill('SIGHUP');
    const line = await until('the server has reloaded its keys', () =>
      server
        .stdout()
        .slice(before)
        .split('\n')
        .find((text) => text.includes('"rootKeyIds"') && text.endsWith('}')),
    );
    return JSON.parse(line);
  }

  test.each([
    ['from the file of ENCRYPTION_KEYS_FILE', 'keys', { ENCRYPTION_KEYS_FILE: 'FILE' }],
    ['from the generated file in DATA_DIR', 'encryption-keys', {}],
  ])('reloads its root keys %s, and wraps with the first of them', async (_, name, settings) => {
    await using stack = new AsyncDisposableStack();
    const { server, url, file, old } = await start(stack, name, settings, spawnServer);
    writeFileSync(file, `${rootKey('next')}\n${old}\n`);
    expect(await reload(server)).toMatchObject({ level: 'info', rootKeyIds: ['next', 'old'] });
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
  });

  test('keeps its current keys when the new ones are invalid, and logs the reason without the keys', async () => {
    await using stack = new AsyncDisposableStack();
    const { server, url, file, old } = await start(stack, 'keys', { ENCRYPTION_KEYS_FILE: 'FILE' });
    const [next, another] = [rootKey('next'), rootKey('old')];
    for (const [text, why] of [
      [`${next},old:${old.slice(4, 20)}`, 'entry 2 holds 12 bytes instead of 32'],
      [next, 'are wrapped by "old", which is not among them'],
      [`${next},${another}`, '"old" is not the key that wrapped the stored data keys'],
    ] as const) {
      writeFileSync(file, text);
      expect(await reload(server)).toMatchObject({
        level: 'error',
        rootKeyIds: ['old'],
        reason: expect.stringContaining(`ENCRYPTION_KEYS_FILE ${file}: `),
      });
      expect(server.stdout()).toContain(JSON.stringify(why).slice(1, -1));
      expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    }
    for (const key of [old, next, another]) expect(server.stdout()).not.toContain(key.slice(6, 18));
    writeFileSync(file, `${next},${old}`);
    expect(await reload(server)).toMatchObject({ rootKeyIds: ['next', 'old'] });
  });

  test('logs that the environment of a running process does not change', async () => {
    await using stack = new AsyncDisposableStack();
    const { server } = await start(stack, 'keys', { ENCRYPTION_KEYS: rootKey('k1') });
    expect(await reload(server)).toMatchObject({
      level: 'error',
      rootKeyIds: ['k1'],
      reason: expect.stringContaining('use ENCRYPTION_KEYS_FILE'),
    });
  });
});

test('wraps new data keys with the first root key and unwraps with all of them after a reload', async () => {
  await using stack = new AsyncDisposableStack();
  const { environment: data } = await lastingData(stack);
  const file = join(data.DATA_DIR ?? '', 'keys');
  const [old, next] = [rootKey('old'), rootKey('next')];
  writeFileSync(file, old);
  const stores = await openStores(readConfig({ ...data, ENCRYPTION_KEYS_FILE: file }), createLog('silent'));
  stack.defer(() => stores.close());
  await stores.unlock();
  const { database, vault } = stores;
  const addDataKey = async (orgId: string) => {
    const em = database.asSystem();
    await vault.addDataKeys(em, orgId);
    await em.flush();
    const { rootKeyId } = await database.asSystem().findOneOrFail(DataKey, { orgId, purpose: 'AUDIT' });
    return rootKeyId;
  };
  const [before, after] = [randomUUID(), randomUUID()];
  expect(await addDataKey(before)).toBe('old');
  writeFileSync(file, `${next},${old}`);
  await stores.reloadKeys();
  expect(await addDataKey(after)).toBe('next');
  const em = database.asSystem();
  for (const orgId of [before, after]) await vault.mac(em, orgId, 'AUDIT', { any: 'thing' });
});

test('is not ready when a root key in use is missing', async () => {
  const server = await startTestServer();
  const isReady = async () => (await fetch(`${server.url}/health/ready`)).status;
  expect(await isReady()).toBe(200);
  const em = server.asOwner();
  await server.restartedVault(rootKey('next')).addDataKeys(em, randomUUID());
  await em.flush();
  await until('the server is not ready', async () => (await isReady()) === 503 || undefined);
  expect(server.logs()).toContain('not ready');
  await server.close();
});
