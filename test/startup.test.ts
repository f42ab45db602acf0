import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GraphQLClient, gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { dataFolder, testDatabaseUrl } from './testkit/database.ts';
import { errorOfStart, runProgram, startProgram } from './testkit/in-process.ts';
import { startOkta } from './testkit/okta.ts';
import {
  type ConnectionFields,
  type Created,
  createMutation,
  type Listed,
  listQuery,
  okta,
} from './testkit/operations.ts';
import {
  closedPort,
  runScript,
  type ServerProcess,
  spawnServer,
  stderrOfFailedStart,
  temporaryFolder,
  until,
} from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { exchange, parseSignInCode } from './testkit/sign-in-code.ts';

// Each test starts processes, some of them several, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const run = promisify(execFile);

/** What a shell makes of the command that the server printed, to the letter. */
async function paste(command: string, environment: Record<string, string> = {}) {
  const { stdout } = await run('sh', ['-c', command], { env: { PATH: process.env.PATH, ...environment } });
  return JSON.parse(stdout) as { data?: unknown; errors?: unknown };
}

const buildCommand = (welcome: string) => welcome.slice(welcome.indexOf('curl '));

const keyIn = (folder: string) => readFileSync(join(folder, 'api-key'), 'utf8').trim();

function clientOf(url: string, apiKey: string): GraphQLClient {
  return new GraphQLClient(`${url}/graphql`, { headers: { authorization: `Bearer ${apiKey}` } });
}

async function stop(server: ServerProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  server.kill(signal);
  expect(await server.ended()).toEqual({ code: 0, signal: null });
}

// These start a server on the embedded database, whichever the run is about, so once is enough.
const onEmbedded = describe.skipIf(testDatabaseUrl);

onEmbedded('first npm start', () => {
  // One that has an apostrophe in it, which the printed command has to survive.
  const parent = temporaryFolder();
  const folder = join(parent.path, "the operator's data");
  let server: ServerProcess;
  let url: string;
  let welcome: string;
  beforeAll(async () => {
    server = spawnServer({ DATA_DIR: folder });
    url = await server.ready();
    welcome = server.stdout();
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    parent[Symbol.dispose]();
  });

  test('prints where everything is', () => {
    expect(welcome).toContain(`GraphiQL   ${url}/graphql`);
    expect(welcome).toContain(`Data       ${folder}\n`);
    expect(welcome).toContain('https://example.okta.com is a fake Okta');
    expect(server.stderr()).toBe('');
  });

  test('prints an API key that works', async () => {
    const [key = ''] = /ack_[\w-]+/.exec(welcome) ?? [];
    expect(key).toBe(keyIn(folder));
    const list = await clientOf(url, key).request<Listed>(listQuery);
    expect(list.appConnections.nodes).toEqual(expect.any(Array));
  });

  test('prints a URL that signs in once, and so does the shell', async () => {
    const [printed = ''] = /http\S+#code=\S+/.exec(welcome) ?? [];
    const { port } = new URL(url);
    const another = await runProgram('admin', { DATA_DIR: folder, PORT: port }, 'sign-in-link');
    expect(another.stdout).toMatch(new RegExp(`^${url}/(graphql)?#code=[\\w-]{43}\n$`));
    expect(statSync(join(folder, 'sign-in-code')).mode & 0o777).toBe(0o600);
    for (const link of [printed, another.stdout.trim()]) {
      const both = await Promise.all([
        exchange(url, parseSignInCode(link)),
        exchange(url, parseSignInCode(link)),
      ]);
      const [taken, refused] = both.sort((a, b) => a.status - b.status);
      expect(JSON.parse(taken?.text ?? '')).toEqual({ apiKey: keyIn(folder) });
      expect(refused?.status).toBe(403);
    }
    expect(existsSync(join(folder, 'sign-in-code'))).toBe(false);
  });

  test.each([
    [
      'in production',
      { NODE_ENV: 'production', DATABASE_URL: 'postgresql://nowhere/x', ENCRYPTION_KEYS: rootKey('k') },
    ],
    ['for a server that others reach', { HOST: '0.0.0.0' }],
  ])('prints no sign-in URL from the shell %s', async (_, environment) => {
    const { code, stdout, stderr } = await runProgram(
      'admin',
      { DATA_DIR: folder, ...environment },
      'sign-in-link',
    );
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^Command failed: sign-in links need a development server .*\n$/);
  });

  test('prints no sign-in URL from the shell for a folder that no server uses', async () => {
    using unused = temporaryFolder();
    const { code, stdout, stderr } = await runProgram('admin', { DATA_DIR: unused.path }, 'sign-in-link');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(`no server is using DATA_DIR ${unused.path}; start the server`);
  });

  test('prints a command that creates a connection when pasted unchanged', async () => {
    expect(await paste(buildCommand(welcome))).toEqual({
      data: {
        createOktaConnection: {
          appConnection: {
            id: expect.any(String),
            name: expect.stringMatching(/^my-okta-connection-\d+$/),
            credentials: { instanceUrl: 'https://example.okta.com' },
            verification: { status: 'VERIFIED' },
          },
        },
      },
    });
  });

  test('prints a URL that serves GraphiQL to a browser', async () => {
    const [, address = ''] = /GraphiQL +(\S+)/.exec(welcome) ?? [];
    const page = await fetch(address, { headers: { accept: 'text/html' } });
    expect(page.status).toBe(200);
    expect(await page.text()).toContain('GraphiQL');
  });

  test('stores data and keys with permissions for its user only', () => {
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    expect(mode(folder)).toBe('700');
    expect(mode(join(folder, 'api-key'))).toBe('600');
    expect(mode(join(folder, 'encryption-keys'))).toBe('600');
  });

  test('is alive and ready', async () => {
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
  });
});

test.skipIf(testDatabaseUrl)(
  'first npm start does not print BOOTSTRAP_API_KEY, and its command reads the variable',
  async () => {
    using folder = dataFolder();
    const key = randomBytes(24).toString('hex');
    await using server = startProgram({ DATA_DIR: folder.path, BOOTSTRAP_API_KEY: key });
    await server.ready();
    expect(server.stdout()).not.toContain(key);
    expect(server.stdout()).toContain('BOOTSTRAP_API_KEY');
    expect(await paste(buildCommand(server.stdout()), { BOOTSTRAP_API_KEY: key })).not.toHaveProperty(
      'errors',
    );
  },
);

onEmbedded('second npm start', () => {
  test('keeps the data and the key, and does not print the key again', async () => {
    using folder = dataFolder();
    const settings = { DATA_DIR: folder.path };
    await using first = spawnServer(settings);
    const firstUrl = await first.ready();
    const key = keyIn(folder.path);
    await paste(buildCommand(first.stdout()));
    const before = await clientOf(firstUrl, key).request<Listed>(listQuery);
    expect(before.appConnections.totalCount).toBe(1);
    await stop(first, 'SIGINT');

    await using second = startProgram(settings);
    const url = await second.ready();
    expect(keyIn(folder.path)).toBe(key);
    expect(second.stdout()).not.toContain(key);
    expect(second.stdout()).toContain(join(folder.path, 'api-key'));
    expect(await clientOf(url, key).request<Listed>(listQuery)).toEqual(before);
    // What was sealed before still opens: the same credentials in another place get the same hash.
    const { createOktaConnection } = await clientOf(url, key).request<Created>(
      createMutation,
      okta({ name: 'another' }, { apiToken: 'any-token-will-do' }),
    );
    const { appConnection } = await clientOf(url, key).request<{
      appConnection: Pick<ConnectionFields, 'credentialsHash'>;
    }>(gql`query ($id: UUID!) { appConnection(id: $id) { credentialsHash } }`, {
      id: before.appConnections.nodes[0]?.id,
    });
    expect(createOktaConnection.appConnection.credentialsHash).toBe(appConnection.credentialsHash);
  });

  test('needs no repair after kill -9, and has everything that was acknowledged', async () => {
    using folder = dataFolder();
    const settings = { DATA_DIR: folder.path };
    await using killed = spawnServer(settings);
    await killed.ready();
    await paste(buildCommand(killed.stdout()));
    killed.kill('SIGKILL');
    await killed.ended();

    await using next = startProgram(settings);
    const { appConnections } = await clientOf(await next.ready(), keyIn(folder.path)).request<Listed>(
      listQuery,
    );
    expect(appConnections.nodes.map(({ name }) => name)).toEqual([
      expect.stringMatching(/^my-okta-connection-\d+$/),
    ]);
  });
});

// Some of these start a process, for its exit code and its streams.
describe.skipIf(testDatabaseUrl)(
  'server start with an invalid setting prints one line and exits with code 1',
  { concurrent: true },
  () => {
    test('when PORT is http', async () => {
      expect(await stderrOfFailedStart({ PORT: 'http' })).toContain('PORT must be');
    });

    test.each(['16', '99', 'not a number'])(
      'when the embedded database is of PostgreSQL %s',
      async (version) => {
        using folder = temporaryFolder();
        mkdirSync(join(folder.path, 'database'));
        writeFileSync(join(folder.path, 'encryption-keys'), rootKey('k1'));
        writeFileSync(join(folder.path, 'database', 'PG_VERSION'), `${version}\n`);
        expect(await errorOfStart({ DATA_DIR: folder.path })).toMatch(
          new RegExp(
            `has the format of PostgreSQL ${/^\d+$/.test(version) ? version : '\\(unknown\\)'}, but this server embeds 18`,
          ),
        );
      },
    );

    test('when the embedded database is damaged inside', async () => {
      using folder = temporaryFolder();
      mkdirSync(join(folder.path, 'database'));
      writeFileSync(join(folder.path, 'encryption-keys'), rootKey('k1'));
      writeFileSync(join(folder.path, 'database', 'PG_VERSION'), '18\n');
      expect(await stderrOfFailedStart({ DATA_DIR: folder.path })).toMatch(
        /database: it cannot be opened and may be damaged/,
      );
    });

    test('when its argument is --open in production', async () => {
      using folder = temporaryFolder();
      const production = {
        NODE_ENV: 'production',
        DATABASE_URL: 'postgresql://nowhere/x',
        ENCRYPTION_KEYS: rootKey('k'),
      };
      const { code, stderr } = await runScript('main.ts', { DATA_DIR: folder.path, ...production }, '--open');
      expect(code).toBe(1);
      expect(stderr).toMatch(/^Cannot start: --open is not allowed .*\n$/);
    });

    test('when DATA_DIR is a file or below a file', async () => {
      using folder = temporaryFolder();
      const file = join(folder.path, 'a-file');
      writeFileSync(file, 'text');
      for (const place of [file, join(file, 'data')]) {
        expect(await errorOfStart({ DATA_DIR: place })).toContain(`DATA_DIR ${place}`);
      }
      expect(readFileSync(file, 'utf8')).toBe('text');
    });

    test('when nothing listens at DATABASE_URL, without printing the password', async () => {
      using folder = temporaryFolder();
      const line = await errorOfStart({
        DATA_DIR: folder.path,
        DATABASE_URL: `postgresql://someone:hunter2-secret@127.0.0.1:${await closedPort()}/somewhere`,
      });
      expect(line).toMatch(/DATABASE_URL.*the host refused the connection/);
      expect(line).not.toContain('hunter2');
    });

    test('when required settings are missing in production, all in one message', async () => {
      const production = { NODE_ENV: 'production' };
      expect(await errorOfStart(production)).toMatch(/DATABASE_URL and ENCRYPTION_KEYS/);
      const onlyKeys = await errorOfStart({ ...production, ENCRYPTION_KEYS: rootKey('k1') });
      expect(onlyKeys).toMatch(/needs DATABASE_URL$/m);
      const onlyDatabase = await errorOfStart({
        ...production,
        DATABASE_URL: 'postgresql://someone:hunter2-secret@127.0.0.1/somewhere',
      });
      expect(onlyDatabase).toMatch(/needs ENCRYPTION_KEYS$/m);
      expect(onlyDatabase).not.toContain('hunter2');
    });
  },
);

onEmbedded('server start with an invalid setting fails with one line', () => {
  test.each(['65536', '-1', '4000.5'])('when PORT is %s', async (port) => {
    expect(await errorOfStart({ PORT: port })).toContain('PORT must be');
  });

  test.each([
    ['whose file system makes no folder', '/proc/data', /DATA_DIR \/proc\/data: .*\(ENOENT\)/],
    [
      'whose file system is read-only',
      '/sys/kernel/data',
      /DATA_DIR \/sys\/kernel\/data: .*\((EPERM|EROFS|EACCES)\)/,
    ],
  ])('when DATA_DIR is one %s', async (_, place, line) => {
    expect(await errorOfStart({ DATA_DIR: place })).toMatch(line);
  });

  test('when the lock of DATA_DIR is damaged, without reporting another server', async () => {
    using folder = temporaryFolder();
    writeFileSync(
      join(folder.path, 'lock'),
      'no database, but long enough to be looked at as one'.repeat(20),
    );
    expect(await errorOfStart({ DATA_DIR: folder.path })).toMatch(
      /lock: cannot be used as a lock; remove this file/,
    );
  });

  test.each([
    ['of another database', 'mysql://someone:hunter2-secret@127.0.0.1/somewhere'],
    ['without an address', 'postgresql://someone:hunter2-secret@:notaport/somewhere'],
    ['that is no URL', 'postgresql://some one:hunter2-secret@[127.0.0.1/%zz'],
  ])('when DATABASE_URL is one %s', async (_, url) => {
    using folder = temporaryFolder();
    const line = await errorOfStart({ DATA_DIR: folder.path, DATABASE_URL: url });
    expect(line).toContain('DATABASE_URL');
    expect(line).not.toContain('hunter2');
  });

  const half = randomBytes(16).toString('base64');
  const whole = randomBytes(32).toString('base64');

  test.each([
    ['has an entry without an id', `k1:${whole},${whole}`, 'entry 2 is not of the form id:base64'],
    ['has an entry that is not base64', `k1:!${whole}`, 'entry 1 is not of the form id:base64'],
    ['has a key of the wrong length', `k1:${half}`, 'entry 1 holds 16 bytes instead of 32'],
    ['has an id twice', `k1:${whole},k1:${whole}`, 'entry 2 repeats the id'],
  ])('when ENCRYPTION_KEYS %s, without printing them', async (_, keys, reason) => {
    using folder = temporaryFolder();
    const line = await errorOfStart({ DATA_DIR: folder.path, ENCRYPTION_KEYS: keys });
    expect(line).toContain(`ENCRYPTION_KEYS: ${reason}`);
    for (const secret of [half, whole]) expect(line).not.toContain(secret.slice(0, 12));
  });

  test('when the file of generated keys is damaged', async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'encryption-keys');
    writeFileSync(file, `k1:${half}\n`);
    const line = await errorOfStart({ DATA_DIR: folder.path });
    expect(line).toContain(`${file}: entry 1`);
    expect(line).not.toContain(half.slice(0, 12));
  });

  test('when the fake Okta is enabled in production', async () => {
    const keys = rootKey('k1');
    const line = await errorOfStart({
      NODE_ENV: 'production',
      DATABASE_URL: 'postgresql://someone:hunter2-secret@127.0.0.1/somewhere',
      ENCRYPTION_KEYS: keys,
      OKTA_STAND_IN: 'on',
    });
    expect(line).toContain('OKTA_STAND_IN');
    expect(line).not.toContain('hunter2');
    expect(line).not.toContain(keys.slice(3, 15));
  });

  test.each<Record<string, string>>([
    { OIDC_ISSUER: 'https://identity.example' },
    { OIDC_ISSUER: 'https://identity.example', OIDC_AUDIENCE: '' },
    { OIDC_AUDIENCE: 'identity.example' },
  ])('when the identity provider is only partly configured: %j', async (half) => {
    const line = await errorOfStart(half);
    expect(line).toContain('OIDC_ISSUER and OIDC_AUDIENCE must be set together');
    expect(line).not.toContain('identity.example');
  });

  test.each<[Record<string, string>, string]>([
    [{ OIDC_CLIENT_ID: 'dashboard' }, 'OIDC_CLIENT_ID needs OIDC_ISSUER and OIDC_AUDIENCE'],
    [{ OIDC_SCOPES: 'openid' }, 'OIDC_SCOPES needs OIDC_CLIENT_ID'],
    [
      { OIDC_SCOPES: 'connections:read' },
      'OIDC_SCOPES must be scopes separated by spaces, and must include openid',
    ],
  ])('when dashboard sign-in is only partly configured: %j', async (part, words) => {
    expect(await errorOfStart(part)).toMatch(new RegExp(`^Cannot start: ${words}$`, 'm'));
  });

  test.each([
    'identity.example',
    'ldap://identity.example',
    'https://u:p@identity.example',
    'https://identity.example?x',
  ])('when OIDC_ISSUER is %s', async (issuer) => {
    const line = await errorOfStart({ OIDC_ISSUER: issuer, OIDC_AUDIENCE: 'us' });
    expect(line).toMatch(/^Cannot start: OIDC_ISSUER must be (the|a) URL [^;]*$/m);
    expect(line).not.toContain('identity.example');
  });

  test('when OIDC_JWKS_URL has no TLS in production', async () => {
    const line = await errorOfStart({
      NODE_ENV: 'production',
      DATABASE_URL: 'postgresql://someone:hunter2-secret@127.0.0.1/somewhere',
      ENCRYPTION_KEYS: rootKey('k1'),
      OIDC_ISSUER: 'http://identity.example',
      OIDC_AUDIENCE: 'us',
    });
    expect(line).toContain('OIDC_ISSUER must start with https://');
    expect(line).not.toContain('identity.example');
  });
});

describe.runIf(testDatabaseUrl)('server start with an invalid setting fails with one line', () => {
  test('when the database or the user does not exist', async () => {
    using folder = temporaryFolder();
    const nowhere = new URL(testDatabaseUrl ?? '');
    nowhere.pathname = 'no_such_database';
    expect(await errorOfStart({ DATA_DIR: folder.path, DATABASE_URL: nowhere.href })).toMatch(
      /DATABASE_URL.*the database does not exist/,
    );
    const nobody = new URL(testDatabaseUrl ?? '');
    nobody.username = 'no_such_user';
    nobody.password = 'hunter2-secret';
    const line = await errorOfStart({ DATA_DIR: folder.path, DATABASE_URL: nobody.href });
    expect(line).toContain('DATABASE_URL');
    expect(line).not.toContain('hunter2');
  });
});

onEmbedded('server start without a required resource prints one line and exits with code 1', () => {
  test('when the port is in use', async () => {
    using folder = dataFolder();
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const address = holder.address();
    const port = address !== null && typeof address === 'object' ? `${address.port}` : '';
    expect(await stderrOfFailedStart({ DATA_DIR: folder.path, PORT: port })).toMatch(
      new RegExp(`PORT ${port} is in use.*set PORT`),
    );
    holder.close();
  });

  test('when the embedded database is damaged', async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, 'encryption-keys'), rootKey('k1'));
    for (const damage of [
      () => writeFileSync(join(folder.path, 'database'), 'not a folder'),
      () => mkdirSync(join(folder.path, 'database')),
    ]) {
      rmSync(join(folder.path, 'database'), { force: true });
      damage();
      expect(await errorOfStart({ DATA_DIR: folder.path })).toContain(join(folder.path, 'database'));
    }
  });

  test('when the encryption keys of existing data are missing, without generating new ones', async () => {
    using folder = temporaryFolder();
    mkdirSync(join(folder.path, 'database'));
    const file = join(folder.path, 'encryption-keys');
    expect(await errorOfStart({ DATA_DIR: folder.path })).toMatch(new RegExp(`${file} is missing`));
    expect(existsSync(file)).toBe(false);
  });

  test.each(['', 'short', 'two words that are long enough to be a key'])(
    'when the API key file contains no key: %j',
    async (text) => {
      using folder = dataFolder();
      writeFileSync(join(folder.path, 'api-key'), text);
      expect(await errorOfStart({ DATA_DIR: folder.path })).toMatch(/api-key does not hold an API key/);
    },
  );

  test('when NODE_ENV is misspelt, instead of starting in development mode', async () => {
    using folder = temporaryFolder();
    expect(await errorOfStart({ DATA_DIR: folder.path, NODE_ENV: 'Production' })).toMatch(/NODE_ENV must be/);
  });

  test('when another server uses the same DATA_DIR, without disturbing it', async () => {
    using folder = dataFolder();
    await using first = spawnServer({ DATA_DIR: folder.path });
    const url = await first.ready();
    expect(await errorOfStart({ DATA_DIR: folder.path })).toMatch(/DATA_DIR .*another server/);
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
  });

  test('when ENCRYPTION_KEYS do not match the stored data', async () => {
    using folder = dataFolder();
    const own = rootKey('own');
    await using first = startProgram({ DATA_DIR: folder.path, ENCRYPTION_KEYS: own });
    await first.ready();
    await stop(first);
    for (const wrong of [rootKey('own'), rootKey('another')]) {
      const line = await errorOfStart({ DATA_DIR: folder.path, ENCRYPTION_KEYS: wrong });
      expect(line).toMatch(/ENCRYPTION_KEYS: .*"own"/);
      for (const keys of [own, wrong]) expect(line).not.toContain(keys.split(':')[1]?.slice(0, 12));
    }
    await using again = startProgram({ DATA_DIR: folder.path, ENCRYPTION_KEYS: `${rootKey('new')},${own}` });
    await again.ready();
  });
});

onEmbedded('server on SIGTERM', () => {
  test('completes requests in flight, accepts no new ones, and exits with code 0', async () => {
    using folder = dataFolder();
    const arrived = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    await using slow = await startOkta({
      handler: async (request, response) => {
        arrived.resolve();
        await released.promise;
        handleFakeOkta(request, response);
      },
    });
    await using server = spawnServer({ DATA_DIR: folder.path, TRUSTED_INSTANCE_HOSTS: slow.hostPort });
    const url = await server.ready();
    const request = clientOf(url, keyIn(folder.path)).rawRequest<Created>(
      createMutation,
      okta({}, { instanceUrl: slow.origin }),
    );
    await arrived.promise;
    server.kill('SIGTERM');
    await until('new connections are refused', async () => (await isRefused(url)) || undefined);
    released.resolve();
    const { data, headers } = await request;
    expect(data.createOktaConnection.appConnection.verification.status).toBe('VERIFIED');
    // So that the client does not send its next request over the same connection.
    expect(headers.get('connection')).toBe('close');
    expect(await server.ended()).toEqual({ code: 0, signal: null });
    expect(server.stderr()).toBe('');
  });
});

async function isRefused(url: string): Promise<boolean> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  try {
    await once(socket, 'connect');
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED';
  } finally {
    socket.destroy();
  }
}
