import { GraphQLClient } from 'graphql-request';
import { describe, expect, it, vi } from 'vitest';
import { commandLine } from '../src/common/command-name.ts';
import { everyScope } from './testkit/access.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
import { runProgram, startProgram } from './testkit/in-process.ts';
import { createConnection, createMutation, deleteMutation, okta } from './testkit/operations.ts';
import { runScript, type ServerProcess, spawnServer } from './testkit/process.ts';
import { errorsOf } from './testkit/server.ts';

// Some tests start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const keyPattern = /ack_[0-9A-Za-z]{49}/;
const uuidPattern = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

/** Runs `npm run admin`. */
const admin = (environment: Record<string, string>, ...args: string[]) =>
  runProgram('admin', environment, ...args);

/** Runs `npm run admin` in a process of its own. */
const adminProcess = (environment: Record<string, string>, ...args: string[]) =>
  runScript('launch.js', environment, 'admin', ...args);

async function connectClient(server: ServerProcess, apiKey: string): Promise<GraphQLClient> {
  const headers = { authorization: `Bearer ${apiKey}` };
  return new GraphQLClient(`${await server.ready()}/graphql`, { headers });
}

const extract = (pattern: RegExp, text: string): string => pattern.exec(text)?.[0] ?? 'not found';

describe('npm run admin', () => {
  it('creates an organisation with an API key that works', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const created = await adminProcess(data, 'create-organisation', '--name', 'Acme', '--project', 'Payroll');
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const key = extract(keyPattern, created.stdout);
    const orgId = extract(uuidPattern, created.stdout);
    expect((await admin(data, 'organisations')).stdout).toMatch(
      new RegExp(`^id +connections .*name\n${orgId} +0 +1 +1 .* Acme\n$`),
    );

    const server = stack.use(startProgram(data));
    const client = await connectClient(server, key);
    const { viewer, projects } = await client.request<{ viewer: object; projects: object }>(
      '{ viewer { organisation { id name } scopes projects { id } } projects { nodes { name } } }',
    );
    expect(viewer).toEqual({
      organisation: { id: orgId, name: 'Acme' },
      scopes: everyScope,
      projects: null,
    });
    expect(projects).toEqual({ nodes: [{ name: 'Payroll' }] });
    await client.request(createMutation, okta());
  });

  it('lists organisations with their sizes', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const create = async (...args: string[]) =>
      JSON.parse((await admin(data, 'create-organisation', ...args, '--json')).stdout);
    const used = await create('--name', 'Used and full');
    const unused = await create('--name', 'Unused');
    await admin(data, 'create-key', '--org', used.orgId);
    const server = stack.use(startProgram(data));
    const client = await connectClient(server, used.apiKey);
    for (const name of ['kept', 'another']) await client.request(createMutation, okta({ name }));
    const { id } = await createConnection({ client }, { name: 'deleted' });
    await client.request(deleteMutation, { id });
    await client.request('mutation { createProject(input: { name: "Second" }) { project { id } } }');
    await client.request(
      'mutation { createApiKey(input: { name: "Short", scopes: [AUDIT_READ], expiresAt: "2999-01-01T00:00:00Z" }) { apiKey { id } } }',
    );
    const { auditEvents } = await client.request<{ auditEvents: { nodes: [{ seq: number; at: string }] } }>(
      '{ auditEvents(first: 1) { nodes { seq at } } }',
    );
    const [last] = auditEvents.nodes;
    server.kill('SIGTERM');
    await server.ended();

    const listed = JSON.parse((await admin(data, 'organisations', '--json')).stdout);
    expect(listed).toEqual([
      {
        ...{ id: used.orgId, name: 'Used and full', createdAt: expect.any(String) },
        ...{ connections: 2, projects: 2, apiKeys: 3, events: last.seq, lastActivityAt: expect.any(String) },
        ...{ status: 'ENABLED', disabledAt: null, deleteAt: null },
      },
      {
        ...{ id: unused.orgId, name: 'Unused', createdAt: expect.any(String) },
        ...{ connections: 0, projects: 1, apiKeys: 1, events: 1, lastActivityAt: expect.any(String) },
        ...{ status: 'ENABLED', disabledAt: null, deleteAt: null },
      },
    ]);
    // Later than the last event if a key was used in the next minute.
    const [{ lastActivityAt }] = listed;
    expect(Date.parse(lastActivityAt)).toBeGreaterThanOrEqual(Date.parse(last.at));
    const { stdout } = await admin(data, 'organisations');
    expect(stdout.split('\n').map((line) => line.replace(/ +/g, ' '))).toEqual([
      'id connections projects API keys events last activity status name',
      `${used.orgId} 2 2 3 ${last.seq} ${lastActivityAt} enabled Used and full`,
      `${unused.orgId} 0 1 1 1 ${listed[1].lastActivityAt} enabled Unused`,
      '',
    ]);
  });

  it('creates an API key for an organisation that lost all of its keys, with an audit event', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const orgId = extract(uuidPattern, (await admin(data, 'create-organisation', '--name', 'Acme')).stdout);
    const everything = await admin(data, 'create-key', '--org', orgId, '--name', 'Found again');
    const little = await admin(data, 'create-key', '--org', orgId, '--scopes', 'connections:read,audit:read');

    const server = stack.use(startProgram(data));
    const events = '{ auditEvents { nodes { seq action keyId targetName changedFields outcome } } }';
    const client = await connectClient(server, extract(keyPattern, everything.stdout));
    await client.request(createMutation, okta());
    const reader = await connectClient(server, extract(keyPattern, little.stdout));
    const [error] = await errorsOf(reader.request(createMutation, okta({ name: 'another' })));
    expect(error?.extensions.code).toBe('FORBIDDEN');
    const { auditEvents } = await reader.request<{ auditEvents: { nodes: object[] } }>(events);
    expect(auditEvents.nodes.slice(-3)).toEqual([
      {
        ...{ seq: 3, action: 'CREATE_API_KEY', keyId: null, targetName: 'Administrator', outcome: 'OK' },
        changedFields: ['name', 'scopes.connections:read', 'scopes.audit:read'],
      },
      expect.objectContaining({ seq: 2, action: 'CREATE_API_KEY', keyId: null, targetName: 'Found again' }),
      expect.objectContaining({ seq: 1, action: 'CREATE_ORGANISATION', keyId: null, targetName: 'Acme' }),
    ]);
    expect(JSON.stringify(auditEvents)).not.toMatch(keyPattern);
  });

  it.skipIf(testDatabaseUrl)(
    'prints the usage and changes nothing when the arguments are invalid',
    async () => {
      await using stack = new AsyncDisposableStack();
      const { environment: data } = await lastingData(stack);
      const id = '00000000-0000-4000-8000-000000000000';
      const usage = commandLine('admin', 'create-organisation');
      /** The cases that a process of its own has to end as it should with: one for each exit code. */
      const processes = [0, 2, 7];
      const cases: [args: string[], code: number, says: string][] = [
        [['help'], 0, usage],
        [[], 2, usage],
        [['frobnicate'], 2, usage],
        [['organisations', '--bogus'], 2, usage],
        [['constructor'], 2, usage],
        [['organisations', 'organisations'], 2, usage],
        // An unknown option is an error: without it, this key would have access to all projects.
        [['create-key', '--org', id, '--project', 'Payroll'], 2, usage],
        [
          ['create-organisation', '--name', 'a\u001b[2Jb'],
          1,
          '--name and --project must have 1 to 64 characters',
        ],
        [
          ['create-organisation', '--name', 'Acme', '--project', 'a\nb'],
          1,
          '--name and --project must have 1 to 64 characters',
        ],
        [['create-organisation'], 1, '--name and --project must have 1 to 64 characters'],
        [
          ['create-organisation', '--name', 'x'.repeat(65)],
          1,
          '--name and --project must have 1 to 64 characters',
        ],
        [['create-key'], 1, '--org must be the id of an organisation'],
        [['create-key', '--org', 'Acme'], 1, '--org must be the id of an organisation'],
        [['create-key', '--org', id], 1, 'There is no such organisation.'],
        [
          ['create-key', '--org', id, '--scopes', 'connections:reed'],
          1,
          '--scopes must be a comma-separated list',
        ],
      ];
      for (const [index, [args, code, says]] of cases.entries()) {
        const outcome = await (processes.includes(index) ? adminProcess : admin)(data, ...args);
        expect([args, outcome.code, outcome.stdout + outcome.stderr]).toEqual([
          args,
          code,
          expect.stringContaining(says),
        ]);
        expect(outcome.stderr.split('\n').length).toBeLessThanOrEqual(2);
      }
      expect((await admin(data, 'organisations')).stdout).toBe('');
    },
  );

  it.runIf(!testDatabaseUrl)('asks to stop the server when it uses the embedded database', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const server = stack.use(spawnServer(data));
    await server.ready();
    const { code, stderr } = await admin(data, 'organisations');
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^Command failed: .*another server is using this folder/),
    ]);
  });

  it.runIf(testDatabaseUrl)('works beside a running server on PostgreSQL', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const server = stack.use(startProgram(data));
    await server.ready();
    const created = await admin(data, 'create-organisation', '--name', 'Acme');
    const client = await connectClient(server, extract(keyPattern, created.stdout));
    await client.request(createMutation, okta());

    const unknown = await connectClient(server, 'unknown-key-unknown-key-unknown-key');
    await errorsOf(unknown.request('{ viewer { scopes } }'));
    expect((await admin(data, 'strangers')).stdout).toMatch(/^\S+Z {2}127\.0\.0\.1\n$/);
  });
});
