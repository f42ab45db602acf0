import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataFolder } from './testkit/database.ts';
import { type ServerProcess, spawnServer, until } from './testkit/process.ts';

const apiKey = 'k7Qp2vX9mZ4rT8wB1nL6cF3yH5jD0sGa';

let server: ServerProcess;
let url: string;
const folder = dataFolder();
beforeAll(async () => {
  server = spawnServer({
    DATA_DIR: folder.path,
    BOOTSTRAP_API_KEY: apiKey,
    LOG_LEVEL: 'warn',
    SHUTDOWN_DELAY_SECONDS: '600',
  });
  url = await server.ready();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Sends a request with an operation of this name, and returns its status. */
async function request(name: string): Promise<number> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query: `query ${name} { viewer { organisation { name } } }` }),
  });
  await response.text();
  return response.status;
}

const isLogged = (text: string) => server.stdout().includes(text) || undefined;

// The tests of this block run in this order, on one process.
describe.skipIf(process.platform === 'win32')('a running server', () => {
  it('logs at debug after SIGUSR2, and at LOG_LEVEL after the next one', async () => {
    expect(await request('Before')).toBe(200);
    server.kill('SIGUSR2');
    await until('the level is debug', () => isLogged('"level":"debug","msg":"changed the log level"'));
    expect(await request('During')).toBe(200);
    await until('the request is logged', () => isLogged('"operation":"During"'));
    server.kill('SIGUSR2');
    await until('the level is warn', () => isLogged('"level":"warn","msg":"changed the log level"'));
    expect(await request('After')).toBe(200);
    expect(server.stdout()).not.toMatch(/"operation":"(Before|After)"/);
  });

  it('says "not ready" and goes on to serve requests for SHUTDOWN_DELAY_SECONDS after SIGTERM', async () => {
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    server.kill('SIGTERM');
    const probe = await until('the server is not ready', async () => {
      const response = await fetch(`${url}/health/ready`);
      return response.status === 200 ? undefined : response;
    });
    expect([probe.status, await probe.text()]).toEqual([503, 'not ready\n']);
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
    expect(await request('WhileItStops')).toBe(200);
  });

  it('ends at once at a second SIGTERM', async () => {
    const ended = server.ended();
    // A terminal and npm send one signal twice, so the first repetition may not count.
    const outcome = await until('the server has ended', () => {
      server.kill('SIGTERM');
      return Promise.race([ended, new Promise<undefined>((resolve) => setTimeout(resolve, 100))]);
    });
    expect(outcome).toEqual({ code: 1, signal: null });
  });
});
