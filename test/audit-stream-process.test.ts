import { GraphQLClient } from 'graphql-request';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { currentTimeMs } from '../src/common/clock.ts';
import { Secret } from '../src/common/secret.ts';
import { firstOrganisation } from '../src/identity/organisations.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { runProgram } from './testkit/in-process.ts';
import { createConnection } from './testkit/operations.ts';
import { spawnServer, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer } from './testkit/server.ts';
import { startSyslogReceiver } from './testkit/syslog-receiver.ts';

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const apiKey = 'k7Qp2vX9mZ4rT8wB1nL6cF3yH5jD0sGa';
const { id: orgId = '' } = firstOrganisation(new Secret(apiKey));

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const createNamed = async (url: string, ...names: string[]) => {
  const headers = { authorization: `Bearer ${apiKey}` };
  const client = new GraphQLClient(`${url}/graphql`, { headers });
  for (const name of names) await createConnection({ client }, { name });
};

it('loses no audit event when a server is killed while the receiver reads nothing: another server delivers them', async () => {
  const receiver = stack.use(await startSyslogReceiver());
  const { location, environment } = await lastingData(stack);
  const rootKeys = rootKey('k1');
  const startOther = async () => {
    const config = { auditStream: receiver.target };
    const server = await startTestServer({ location, rootKeys, streamIntervalMs: 20, config });
    stack.defer(() => server.close());
    return server;
  };
  const killed = spawnServer({
    ...environment,
    ENCRYPTION_KEYS: rootKeys,
    BOOTSTRAP_API_KEY: apiKey,
    AUDIT_STREAM: receiver.url,
  });
  stack.use(killed);
  const url = await killed.ready();
  await createNamed(url, 'a');
  // The organisation was created with the first event.
  await receiver.waitFor(orgId, 2);
  receiver.behave((socket) => void socket.pause());
  const before = receiver.connections();
  await createNamed(url, 'b', 'c');
  await until(
    'the server sends to a receiver that does not read',
    () => receiver.connections() > before || undefined,
  );
  const running = testDatabaseUrl ? await startOther() : undefined;
  killed.kill('SIGKILL');
  await killed.ended();
  receiver.behave(undefined);
  const other = running ?? (await startOther());
  // As if the time of the lease were over.
  await other.asOwner().execute('update audit_stream set lease_until = ?', [new Date(currentTimeMs() - 1)]);
  expect(await receiver.waitFor(orgId, 4)).toEqual([1, 2, 3, 4]);
  await createNamed(other.url, 'd');
  expect(await receiver.waitFor(orgId, 5)).toEqual([1, 2, 3, 4, 5]);
});

it('streams to the URL of AUDIT_STREAM what audit export prints, and doctor says what waits', async () => {
  const { location, environment, path } = await lastingData(stack);
  const receiver = await startSyslogReceiver();
  const settings = { ...environment, ENCRYPTION_KEYS: rootKey('k1'), AUDIT_STREAM: receiver.url };
  const server = spawnServer({ ...settings, BOOTSTRAP_API_KEY: apiKey });
  stack.use(server);
  const url = await server.ready();
  await createNamed(url, 'a', 'b');
  await receiver.waitFor(orgId, 3);
  server.kill('SIGTERM');
  await server.ended();
  await receiver[Symbol.asyncDispose]();
  const exported = await runProgram('audit:export', settings, '--organisation', orgId);
  const streamed = receiver.messages.map((message) => message.slice(message.indexOf('{')));
  expect(streamed.filter((line) => line.includes(orgId)).join('\n')).toBe(exported.stdout.trim());

  const doctor = async (variables: Record<string, string>) => {
    const { stdout } = await runProgram('doctor', variables, '--json');
    const { findings } = JSON.parse(stdout) as { findings: { check: string; message: string }[] };
    return findings.filter(({ check }) => check === 'audit stream');
  };
  expect(await doctor(settings)).toEqual([
    { check: 'audit stream', status: 'ok', message: 'AUDIT_STREAM takes audit events; 0 wait.' },
  ]);
  await executeAsOwner(location, 'delete from audit_stream_position');
  await executeAsOwner(
    location,
    "update audit_stream set failing_since = '2026-01-02T03:04:05Z', failure = 'the connection was refused'",
  );
  expect(await doctor(settings)).toMatchObject([
    {
      status: 'warning',
      message: expect.stringMatching(
        /^Since 2026-01-02T03:04:05\.000Z, AUDIT_STREAM has taken no events: the connection was refused\. [1-9]\d* wait\.$/,
      ),
    },
  ]);
  expect(
    await doctor({ ...environment, ENCRYPTION_KEYS: settings.ENCRYPTION_KEYS, DATA_DIR: path }),
  ).toMatchObject([{ status: 'skipped' }]);
});
