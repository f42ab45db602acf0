import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { parseRange } from '../src/http/client-ip.ts';
import { startOkta } from './testkit/okta.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { temporaryFolder } from './testkit/process.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Returns the log lines of a request. */
function findRequestLines(of: TestServer, requestId: string | null): Record<string, unknown>[] {
  return of
    .logs()
    .split('\n')
    .filter((line) => line.includes('"msg":"request"') && line.includes(`${requestId}`))
    .map((line) => JSON.parse(line));
}

async function send(of: TestServer, apiKey: string, query: string, variables = {}) {
  const response = await fetch(of.graphqlUrl, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  return { requestId: response.headers.get('x-request-id'), answer: await response.json() };
}

describe('the request log', () => {
  it('has one line per request, with the request id of the response', async () => {
    const { apiKey, orgId } = await server.newOrganisation();
    const { requestId } = await send(server, apiKey, createMutation, okta({ description: 'seen-nowhere' }));
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    await expect.poll(() => findRequestLines(server, requestId)).toHaveLength(1);
    expect(findRequestLines(server, requestId)[0]).toEqual({
      level: 'info',
      time: expect.any(String),
      server: expect.stringMatching(new RegExp(`^${hostname()}-[0-9a-f]{6}$`)),
      version: manifest.version,
      requestId,
      address: '127.0.0.1',
      method: 'POST',
      path: '/graphql',
      status: 200,
      operation: 'Create',
      orgId,
      keyId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      ms: expect.any(Number),
      databaseMs: expect.any(Number),
      upstreamMs: expect.any(Number),
      outcome: 'OK',
      msg: 'request',
    });
    expect(server.logs()).not.toContain('seen-nowhere');
  });

  it('contains the error code', async () => {
    const { apiKey } = await server.newOrganisation();
    const { requestId } = await send(server, apiKey, createMutation, okta({}, { apiToken: 'revoked' }));
    await expect.poll(() => findRequestLines(server, requestId)).toHaveLength(1);
    expect(findRequestLines(server, requestId)[0]?.outcome).toBe('CREDENTIALS_REJECTED');
  });

  it('marks an internal error, without details in the response, under its request id', async () => {
    const broken = await startTestServer();
    const organisation = await broken.newOrganisation();
    await broken.asOwner().execute('drop table app_connection cascade');
    const [error] = await errorsOf(organisation.client.request(createMutation, okta()));
    expect(error).toMatchObject({
      message: 'The server failed unexpectedly.',
      path: ['createOktaConnection'],
      extensions: {
        code: 'INTERNAL_SERVER_ERROR',
        requestId: expect.any(String),
        remedy: expect.any(String),
      },
    });
    expect(JSON.stringify(error)).not.toMatch(/app_connection|select|TableNotFound/);
    const line = broken
      .logs()
      .split('\n')
      .find((each) => each.includes('unexpected error'));
    expect(line).toContain(String(error?.extensions.requestId));
    expect(line).toContain('42P01');
    await broken.close();
  });
});

describe('the request id', () => {
  let behindProxy: TestServer;
  beforeAll(async () => {
    const trustedProxies = [parseRange('127.0.0.1')].filter((range) => range !== undefined);
    behindProxy = await startTestServer({ beside: server, config: { trustedProxies } });
  });
  afterAll(() => behindProxy.close());
  const getId = async (of: TestServer, id: string, path = '/graphql') => {
    const response = await fetch(`${of.url}${path}`, { headers: { 'x-request-id': id } });
    await response.text();
    return response.headers.get('x-request-id');
  };
  const made = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

  it('is the one that a trusted proxy sends, in the response, the log and the errors', async () => {
    const id = 'edge.1234_abcd-EF';
    expect(await getId(behindProxy, id)).toBe(id);
    await expect.poll(() => findRequestLines(behindProxy, id)).toHaveLength(1);
  });

  it.each([
    ['too short', 'abc'],
    ['too long', 'a'.repeat(129)],
    ['with a space', 'abcd efgh'],
    ['with quotation marks', '"abcdefgh"'],
    ['sent twice', 'abcdefgh, abcdefgi'],
    ['empty', ''],
  ])('is made by the server if that of the proxy is %s', async (_, id) => {
    expect(await getId(behindProxy, id)).toMatch(made);
  });

  it('is made by the server if the peer is not in TRUSTED_PROXIES', async () => {
    expect(await getId(server, 'abcdefgh-1')).toMatch(made);
  });
});

describe('the path in the request log', () => {
  it.each([
    ['/api/v1/app-connections/options?token=secret-value', '/api/v1/app-connections/options'],
    [`/api/v1/app-connections/${'a'.repeat(32)}`, '/api/v1/app-connections/…'],
    ['/sign-in/al%69ce@example.com', '/sign-in/…'],
    [
      '/api/v1/app-connections/okta/6f03caa1-a5de-43ce-b127-95a145d3464c/proxy/api/v1/users/alice?q=x',
      '/api/v1/app-connections/okta/6f03caa1-a5de-43ce-b127-95a145d3464c/proxy/…',
    ],
  ])('of %s is %s', async (path, logged) => {
    const response = await fetch(`${server.url}${path}`);
    await response.text();
    const id = response.headers.get('x-request-id');
    await expect.poll(() => findRequestLines(server, id)).toHaveLength(1);
    expect(findRequestLines(server, id)[0]?.path).toBe(logged);
  });
});

describe('the times in the request log', () => {
  const waitMs = 150;

  it('have the wait for Okta', async () => {
    await using stand = await startOkta();
    const beside = await startTestServer({
      config: { trustedInstanceHosts: new Set([stand.hostPort]) },
    });
    stand.behave((request, response) => {
      setTimeout(() => handleFakeOkta(request, response), waitMs);
    });
    const { apiKey } = await beside.newOrganisation();
    const credentials = { instanceUrl: stand.origin };
    const { requestId } = await send(beside, apiKey, createMutation, okta({}, credentials));
    await expect.poll(() => findRequestLines(beside, requestId)).toHaveLength(1);
    const [line] = findRequestLines(beside, requestId);
    expect(line?.outcome).toBe('OK');
    expect(line?.upstreamMs).toBeGreaterThanOrEqual(waitMs - 1);
    expect(line?.databaseMs).toBeLessThan(Number(line?.ms) - waitMs + 2);
    await beside.close();
  });

  it('have the wait for the database', async () => {
    const { apiKey } = await server.newOrganisation();
    let sent: ReturnType<typeof send> | undefined;
    // The embedded database executes nothing else during a transaction.
    await server.database.asSystem().transactional(async (em) => {
      await em.execute('select 1');
      sent = send(server, apiKey, '{ viewer { organisation { name } } }');
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    });
    const { requestId } = (await sent) ?? {};
    await expect.poll(() => findRequestLines(server, `${requestId}`)).toHaveLength(1);
    const [line] = findRequestLines(server, `${requestId}`);
    expect(line?.databaseMs).toBeGreaterThanOrEqual(waitMs / 2);
    expect(line).not.toHaveProperty('upstreamMs');
  });
});

describe('health checks', () => {
  it.each(['/health/live', '/health/ready'])('are logged at debug: %s', async (path) => {
    const id = (await fetch(`${server.url}${path}`)).headers.get('x-request-id');
    await expect.poll(() => findRequestLines(server, id)).toHaveLength(1);
    expect(findRequestLines(server, id)[0]).toMatchObject({ level: 'debug', path, status: 200 });
  });
});

describe('standard output', () => {
  const module = JSON.stringify(new URL('../src/common/log.ts', import.meta.url).href);
  /** Starts a process that logs. */
  const startLogging = (script: string, stdout: 'pipe' | number = 'pipe') => {
    const source = `import { createLog } from ${module}; const log = createLog('info'); ${script}`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
      stdio: ['pipe', stdout, 'inherit'],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    return child;
  };

  it.skipIf(process.platform !== 'linux')(
    'that is a full disk does not end the process, nor keep it',
    async () => {
      const full = openSync('/dev/full', 'w');
      const goOn = "log.info('lost'); setTimeout(() => { log.info('lost'); process.exit(7); }, 100)";
      const ended = once(startLogging(goOn, full), 'exit');
      closeSync(full);
      expect(await ended).toEqual([7, null]);
    },
  );

  it('that is closed does not end the process', async () => {
    const child = startLogging(
      "process.stdin.once('data', () => { log.info('lost'); setTimeout(() => process.exit(7), 100); })",
    );
    const ended = once(child, 'exit');
    child.stdout?.destroy();
    child.stdin?.write('x');
    expect(await ended).toEqual([7, null]);
  });

  it('that takes lines too slowly gets the first of them, and the number of the others', async () => {
    const child = startLogging("for (let i = 0; i < 1000; i += 1) log.info({ pad: 'x'.repeat(32_768) })");
    const lines = (await text(Readable.from(child.stdout ?? []))).trimEnd().split('\n');
    const last = JSON.parse(lines.at(-1) ?? '');
    expect(last).toMatchObject({ level: 'warn', msg: expect.stringContaining('dropped') });
    expect(last.lines).toBeGreaterThan(0);
    expect(lines.length - 1 + last.lines).toBe(1_000);
  });

  it('gets the lines that are logged before the process ends itself, also during a write', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'log');
    const file = openSync(path, 'w');
    const child = startLogging(
      'for (let i = 0; i < 5000; i += 1) log.info({ i }); setImmediate(() => { log.info({ i: 5000 }); process.exit(); })',
      file,
    );
    const ended = once(child, 'exit');
    closeSync(file);
    await ended;
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    const numbers = lines.map((line) => JSON.parse(line).i).toSorted((one, other) => one - other);
    expect(numbers).toEqual(Array.from({ length: 5_001 }, (_, i) => i));
  });
});
