import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GraphQLClient } from 'graphql-request';
import { describe, expect, it, vi } from 'vitest';
import { commandLine } from '../src/common/command-name.ts';
import { createKey, revokeKey, viewerOf } from './testkit/access.ts';
import { freshDatabase, lastingData, testDatabaseUrl } from './testkit/database.ts';
import { startProgram } from './testkit/in-process.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { type ServerProcess, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf } from './testkit/server.ts';

// Each test starts several servers, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const createClient = (url: string, key: string) =>
  new GraphQLClient(`${url}/graphql`, { headers: { authorization: `Bearer ${key}` } });

/** Creates a second administrator key, revokes the first one with it, and returns the new key. */
async function replace(url: string, old: string): Promise<string> {
  const client = createClient(url, old);
  const id = (await viewerOf(client)).apiKey?.id ?? '';
  const { key } = await createKey(client, { name: 'The new administrator' });
  await revokeKey(createClient(url, key), id);
  await until('the old key is rejected', () =>
    viewerOf(client).then(
      () => undefined,
      () => true,
    ),
  );
  await createClient(url, key).request(createMutation, okta());
  return key;
}

async function stop(server: ServerProcess): Promise<void> {
  server.kill('SIGTERM');
  expect(await server.ended()).toEqual({ code: 0, signal: null });
}

describe('the bootstrap API key', () => {
  it.each([
    ['generated at the first start', {}],
    ['of BOOTSTRAP_API_KEY', { BOOTSTRAP_API_KEY: randomBytes(24).toString('hex') }],
  ])(
    'is replaced without a restart, and the next start reports that it is revoked: %s',
    async (_, overrides) => {
      await using stack = new AsyncDisposableStack();
      const { path, environment } = await lastingData(stack);
      const file = join(path, 'api-key');
      const settings: Record<string, string> = { ...environment, ...overrides };
      const first = stack.use(startProgram(settings));
      const url = await first.ready();
      const old = settings.BOOTSTRAP_API_KEY ?? readFileSync(file, 'utf8').trim();
      const key = await replace(url, old);
      await stop(first);

      const second = stack.use(startProgram(settings));
      const again = await second.ready();
      const source = settings.BOOTSTRAP_API_KEY ? 'BOOTSTRAP_API_KEY' : file;
      expect(second.stdout()).toContain(
        `API key    created earlier; ${source} has no valid key ("${commandLine('admin', 'help')}" shows how to create another)\n`,
      );
      expect(second.stdout()).not.toContain('curl');
      for (const secret of [old, key]) expect(second.stdout()).not.toContain(secret);
      expect((await errorsOf(viewerOf(createClient(again, old))))[0]?.message).toBe(
        'This API key has been revoked.',
      );
      expect((await viewerOf(createClient(again, key))).apiKey?.name).toBe('The new administrator');
      // There is no sign-in URL for a key that does not work.
      expect(second.stdout()).not.toContain('#code=');
      await stop(second);
    },
  );

  it.runIf(testDatabaseUrl)('causes a log message in production when it is revoked', async () => {
    await using database = await freshDatabase();
    const { location } = database;
    const old = randomBytes(24).toString('hex');
    const settings = {
      NODE_ENV: 'production',
      DATABASE_URL: location.kind === 'postgresql' ? location.url.reveal() : '',
      ENCRYPTION_KEYS: rootKey('k1'),
      BOOTSTRAP_API_KEY: old,
    };
    await using first = startProgram(settings);
    const url = await first.ready();
    expect(first.stdout()).not.toContain('BOOTSTRAP_API_KEY');
    const client = createClient(url, old);
    const { key } = await createKey(client);
    await revokeKey(createClient(url, key), (await viewerOf(client)).apiKey?.id ?? '');
    await stop(first);

    await using second = startProgram(settings);
    const again = await second.ready();
    await until('the warning is logged', () => second.stdout().includes('BOOTSTRAP_API_KEY') || undefined);
    expect(second.stdout()).toContain(
      'BOOTSTRAP_API_KEY is ignored: it is not a valid API key, and creates only the first organisation',
    );
    expect(second.stdout()).not.toContain(old);
    expect((await errorsOf(viewerOf(createClient(again, old))))[0]?.extensions.code).toBe('UNAUTHENTICATED');
    expect((await viewerOf(createClient(again, key))).apiKey?.name).toBe('Another');
  });
});
