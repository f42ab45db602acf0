import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { lastingData } from './testkit/database.ts';
import { createDatabaseAttacker } from './testkit/database-attacker.ts';
import { runProgram } from './testkit/in-process.ts';
import { createConnection } from './testkit/operations.ts';
import { buildCommand } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServerOptions } from './testkit/server.ts';

// Each server here opens its database anew, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const token = '00planted-in-an-exported-trail';
const stack = new AsyncDisposableStack();
let options: TestServerOptions;
let settings: Record<string, string>;
let first: TestOrganisation;
let second: TestOrganisation;
/** The events of `first` in REST, the oldest first. */
let events: { seq: number; at: string }[];

const exportTrails = (...args: string[]) => runProgram('audit:export', settings, ...args);

const parseLines = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line): { orgId: string; seq: number; at: string; hash: string } => JSON.parse(line));

beforeAll(async () => {
  const { location, environment } = await lastingData(stack);
  const rootKeys = rootKey('k1');
  options = { location, rootKeys };
  settings = { ...environment, ENCRYPTION_KEYS: rootKeys };
  const server = await startTestServer(options);
  [first, second] = [await server.newOrganisation(), await server.newOrganisation()];
  for (const name of ['a', 'b', 'c']) await createConnection(first, { name }, { apiToken: token });
  await createConnection(second, { name: 'd' });
  const { body } = await restClient(server.url, first.apiKey)('GET', '/api/v1/audit-events');
  events = (body as { auditEvents: typeof events }).auditEvents.reverse();
  await server.close();
});
afterAll(() => stack.disposeAsync());

describe('npm run audit:export', () => {
  it('prints every event as REST does, with organisation and hash, the oldest first', async () => {
    const { code, stdout, stderr } = await exportTrails();
    expect([code, stderr]).toEqual([0, '']);
    const lines = parseLines(stdout);
    const ofFirst = lines.filter(({ orgId }) => orgId === first.orgId);
    const hashed = events.map((event) => ({ orgId: first.orgId, ...event, hash: expect.any(String) }));
    expect(events).toHaveLength(3);
    expect(ofFirst).toEqual(hashed);
    expect(lines.some(({ orgId }) => orgId === second.orgId)).toBe(true);
    expect(stdout).not.toContain(token);
  });

  it.runIf(process.platform === 'linux')(
    'ends with exit code 1 and one line if its output cannot be written, such as to a full disk',
    async () => {
      const full = openSync('/dev/full', 'w');
      stack.defer(() => closeSync(full));
      const child = spawn(process.execPath, buildCommand('launch.js', ['audit:export']), {
        env: { PATH: process.env.PATH, ...settings },
        stdio: ['ignore', full, 'pipe'],
      });
      let stderr = '';
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      const [code] = await once(child, 'close');
      expect(stderr).toBe('Standard output cannot be written (ENOSPC); what was printed is not complete\n');
      expect(code).toBe(1);
    },
  );

  it('prints one organisation, and a range of time without its end', async () => {
    const [from = '', to = ''] = [events[1]?.at, events[2]?.at];
    const { code, stdout } = await exportTrails('--organisation', first.orgId, '--from', from, '--to', to);
    expect(code).toBe(0);
    const inRange = events.filter(({ at }) => at >= from && at < to);
    expect(parseLines(stdout).map(({ orgId, seq }) => [orgId, seq])).toEqual(
      inRange.map(({ seq }) => [first.orgId, seq]),
    );
  });

  it.each([
    [
      ['--from', '2026-01-02T00:00:00Z', '--to', '2026-01-01T00:00:00Z'],
      2,
      '"--to" must be later than "--from".',
    ],
    [['--from', 'yesterday'], 2, 'The option --from needs a time, such as 2007-12-03T10:15:30Z.'],
    [['--organisation', 'x'], 2, 'The option --organisation needs the id of an organisation.'],
    [
      ['--organisation', '00000000-0000-4000-8000-000000000009'],
      1,
      'Not exported: there is no organisation 00000000-0000-4000-8000-000000000009',
    ],
    [['everything'], 2, 'Unexpected argument "everything".'],
  ])('refuses %j', async (args, expectedCode, message) => {
    const { code, stdout, stderr } = await exportTrails(...args);
    expect([code, stdout]).toEqual([expectedCode, '']);
    expect(stderr).toContain(message);
  });

  it('ends a broken trail before its first wrong event, and goes on with the others', async () => {
    const server = await startTestServer(options);
    const sql = createDatabaseAttacker(server);
    await sql('alter table audit_event disable trigger all');
    await sql("update audit_event set connection_name = 'x' where org_id = ? and seq = 2", [first.orgId]);
    await sql('alter table audit_event enable trigger all');
    await server.close();
    const { code, stdout, stderr } = await exportTrails();
    expect(code).toBe(1);
    expect(stderr).toBe(`Not exported: organisation ${first.orgId}: event 2 was edited\n`);
    const lines = parseLines(stdout);
    expect(lines.filter(({ orgId }) => orgId === first.orgId).map(({ seq }) => seq)).toEqual([1]);
    expect(lines.some(({ orgId }) => orgId === second.orgId)).toBe(true);
  });
});
