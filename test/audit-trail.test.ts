import { randomUUID } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/postgresql';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOrganisation } from '../src/administration/organisations.ts';
import { verifyChain } from '../src/audit/verify-chain.ts';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { createConnection, createMutation, okta } from './testkit/operations.ts';
import { runScript } from './testkit/process.ts';
import { at, restClient } from './testkit/rest.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

interface Event {
  seq: number;
  action: string;
  outcome: string;
  connectionId: string | null;
  connectionName: string | null;
  keyId: string | null;
  address: string | null;
  requestId: string | null;
  changedFields: string[];
}

const eventsQuery = gql`
  query Events($filter: AuditEventFilter, $first: Int! = 20, $after: String) {
    auditEvents(filter: $filter, first: $first, after: $after) {
      nodes { seq action outcome connectionId connectionName keyId address requestId changedFields }
      pageInfo { hasNextPage endCursor }
    }
  }
`;

async function listEvents({ client }: TestOrganisation, filter = {}): Promise<Event[]> {
  const { auditEvents } = await client.request<{ auditEvents: { nodes: Event[] } }>(eventsQuery, { filter });
  return auditEvents.nodes.reverse();
}

async function create(organisation: TestOrganisation, name = 'my-okta-connection'): Promise<string> {
  return (await createConnection(organisation, { name })).id;
}

const update = gql`
  mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { version } }
  }
`;
const remove = gql`mutation ($id: UUID!, $purge: Boolean! = false) { deleteAppConnection(id: $id, purge: $purge) { id } }`;
const restore = gql`mutation ($id: UUID!) { restoreAppConnection(id: $id) { appConnection { id } } }`;
const rename = gql`
  mutation ($id: UUID!, $name: String!) { renameProject(id: $id, name: $name) { project { id } } }
`;
const verify = gql`mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }`;

describe('the audit trail', () => {
  it('records who did what, from where and which fields changed, for each change', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    const id = await create(organisation);
    await client.request(update, {
      id,
      input: { name: 'renamed', credentials: { apiToken: 'a-second-token' } },
    });
    await client.request(verify, { id });
    await client.request(remove, { id });
    await client.request(restore, { id });
    await client.request(remove, { id, purge: true });
    const events = await listEvents(organisation);
    expect(
      events.map(({ seq, action, outcome, connectionName, changedFields }) => [
        seq,
        action,
        outcome,
        connectionName,
        changedFields,
      ]),
    ).toEqual([
      [
        1,
        'CREATE_CONNECTION',
        'OK',
        'my-okta-connection',
        expect.arrayContaining(['name', 'credentials.apiToken']),
      ],
      [2, 'UPDATE_CONNECTION', 'OK', 'renamed', ['name', 'credentials.apiToken']],
      [3, 'VERIFY_CONNECTION', 'OK', 'renamed', ['verification']],
      [4, 'DELETE_CONNECTION', 'OK', 'renamed', ['deletedAt']],
      [5, 'RESTORE_CONNECTION', 'OK', 'renamed', ['deletedAt']],
      [6, 'PURGE_CONNECTION', 'OK', 'renamed', ['deletedAt']],
    ]);
    for (const event of events) {
      expect(event).toMatchObject({
        connectionId: id,
        keyId: expect.stringMatching(/^[0-9a-f-]{36}$/),
        address: '127.0.0.1',
      });
      expect(server.logs()).toContain(`"requestId":"${event.requestId}"`);
    }
    expect(JSON.stringify(events)).not.toContain('a-second-token');
  });

  it('records each rejected attempt, and no event when nothing changed', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    const id = await create(organisation);
    const reader = server.clientFor(await organisation.newKey(['connections:read']));
    await errorsOf(client.request(createMutation, okta()));
    await errorsOf(client.request(createMutation, okta({ name: 'other' }, { apiToken: 'revoked' })));
    await errorsOf(client.request(update, { id, input: { version: 9, description: 'x' } }));
    await errorsOf(reader.request(remove, { id }));
    await errorsOf(reader.request(createMutation, okta({ name: 'mine' })));
    await client.request(update, { id, input: {} });
    await client.request('{ appConnections { totalCount } }');
    expect((await listEvents(organisation)).map(({ action, outcome }) => [action, outcome])).toEqual([
      ['CREATE_CONNECTION', 'OK'],
      ['CREATE_CONNECTION', 'NAME_TAKEN'],
      ['CREATE_CONNECTION', 'CREDENTIALS_REJECTED'],
      ['UPDATE_CONNECTION', 'VERSION_CONFLICT'],
      ['DELETE_CONNECTION', 'FORBIDDEN'],
      ['CREATE_CONNECTION', 'FORBIDDEN'],
    ]);
  });

  it('supports filters and cursor pagination, newest first', async () => {
    const organisation = await server.newOrganisation();
    const ids = [
      await create(organisation, 'one'),
      await create(organisation, 'two'),
      await create(organisation, 'three'),
    ];
    await organisation.client.request(remove, { id: ids[1] });
    expect((await listEvents(organisation, { connectionId: ids[1] })).map(({ action }) => action)).toEqual([
      'CREATE_CONNECTION',
      'DELETE_CONNECTION',
    ]);
    expect(await listEvents(organisation, { action: 'DELETE_CONNECTION', outcome: 'OK' })).toHaveLength(1);
    expect(await listEvents(organisation, { from: '2999-01-01T00:00:00Z' })).toHaveLength(0);
    expect(await listEvents(organisation, { to: '2999-01-01T00:00:00Z' })).toHaveLength(4);
    const seen: number[] = [];
    for (let after: string | null = null, more = true; more; ) {
      const {
        auditEvents,
      }: { auditEvents: { nodes: Event[]; pageInfo: { hasNextPage: boolean; endCursor: string } } } =
        await organisation.client.request(eventsQuery, { first: 3, after });
      seen.push(...auditEvents.nodes.map(({ seq }) => seq));
      after = auditEvents.pageInfo.endCursor;
      more = auditEvents.pageInfo.hasNextPage;
    }
    expect(seen).toEqual([4, 3, 2, 1]);
    const [error] = await errorsOf(organisation.client.request(eventsQuery, { after: 'nonsense' }));
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['after'] }] });
  });

  it.each<Record<string, string>>([
    { from: '0001-01-01T00:00:00Z' },
    { from: '0001-01-01T00:00:00.001Z' },
    { to: '9999-12-31T23:59:59.999Z' },
    { to: '9999-12-31T00:00:00Z' },
    { from: '0001-01-01T12:00:00Z', to: '9999-12-30T23:59:59.999Z' },
  ])('covers the first and the last time that a filter can have: %j', async (filter) => {
    const organisation = await server.newOrganisation();
    await create(organisation);
    expect(await listEvents(organisation, filter)).toHaveLength(1);
    const { status, body } = await restClient(server.url, organisation.apiKey)(
      'GET',
      `/api/v1/audit-events?${new URLSearchParams(filter)}`,
    );
    expect([status, at(body, 'auditEvents', 0, 'seq')]).toEqual([200, 1]);
  });

  it.each<Record<string, string>>([
    { from: '0000-12-31T23:59:59.999Z' },
    { from: '0001-01-01T00:00:00+14:00' },
    { to: '9999-12-31T23:59:59.999-14:00' },
    { subject: '' },
    { outcome: '' },
    { to: '2026-01-01T00:00:00Z', from: '2026-01-02T00:00:00Z' },
    { to: '2026-01-01T00:00:00Z', from: '2026-01-01T00:00:00Z' },
  ])('refuses a filter that no event can have: %j', async (filter) => {
    const organisation = await server.newOrganisation();
    const [name = ''] = Object.keys(filter);
    const [error] = await errorsOf(organisation.client.request(eventsQuery, { filter }));
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['filter', name] }] });
    const { status, body } = await restClient(server.url, organisation.apiKey)(
      'GET',
      `/api/v1/audit-events?${new URLSearchParams(filter)}`,
    );
    expect([status, at(body, 'issues', 0, 'path')]).toEqual([422, [name]]);
  });

  it('shows only events of the own organisation and requires audit:read', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    await create(theirs);
    expect(await listEvents(mine)).toEqual([]);
    const client = server.clientFor(await mine.newKey(['connections:read', 'connections:write']));
    const [error] = await errorsOf(client.request(eventsQuery));
    expect(error?.extensions.code).toBe('FORBIDDEN');
  });

  it('rejects updates and deletes in the database', async () => {
    const organisation = await server.newOrganisation();
    await create(organisation);
    for (const sql of [
      `update audit_event set outcome = 'x'`,
      'delete from audit_event',
      'truncate audit_event',
    ]) {
      await expect(server.asOwner().execute(sql)).rejects.toThrow();
    }
    expect(await listEvents(organisation)).toHaveLength(1);
  });
});

describe('the hash chain', () => {
  const check = (orgId: string) =>
    verifyChain(() => server.database.forOrganisation(orgId), server.vault, orgId);
  const tamper = async (...statements: string[]) => {
    const em = server.asOwner();
    await em.execute('alter table audit_event disable trigger all');
    for (const sql of statements) await em.execute(sql);
    await em.execute('alter table audit_event enable trigger all');
  };

  it('is intact after 40 concurrent changes with one event each', async () => {
    const organisation = await server.newOrganisation();
    await Promise.all(Array.from({ length: 40 }, (_, i) => create(organisation, `c-${i}`)));
    expect(await check(organisation.orgId)).toEqual({ events: 40 });
  });

  it.runIf(testDatabaseUrl)(
    'is intact after concurrent changes of the same rows by two servers',
    async () => {
      const organisation = await server.newOrganisation();
      const second = await startTestServer({ beside: server });
      try {
        const clients = [organisation.client, second.clientFor(organisation.apiKey)];
        const id = await create(organisation, 'shared');
        const project = organisation.projectId;
        const rounds = 20;
        const changes = Array.from({ length: rounds }, (_, index) =>
          clients.flatMap((client, by) => [
            client.request(createMutation, okta({ name: `c-${index}-${by}`, projectId: project })),
            client.request(update, { id, input: { description: `by ${by}, ${index}` } }),
            client.request(update, { id, input: { name: `shared-${index}-${by}` } }),
            client.request(verify, { id }),
            client.request(rename, { id: project, name: `Project ${index} ${by}` }),
            errorsOf(client.request(remove, { id: randomUUID() })),
          ]),
        ).flat();
        await Promise.all(changes);
        const { events } = (await check(organisation.orgId)) as { events: number };
        const [outcomes] = await server.asOwner().execute(
          `select count(*) filter (where action = 'CREATE_CONNECTION')::int as created,
           count(*) filter (where action = 'UPDATE_CONNECTION')::int as updated,
           count(*) filter (where action = 'VERIFY_CONNECTION')::int as verified,
           count(*)::int as events,
           (select version from app_connection where id = ?) as version
         from audit_event where org_id = ?`,
          [id, organisation.orgId],
        );
        expect(outcomes).toEqual({
          created: 1 + 2 * rounds,
          updated: 4 * rounds,
          verified: 2 * rounds,
          events,
          version: 1 + 4 * rounds,
        });
      } finally {
        await second.close();
      }
    },
  );

  it('is intact when creating the organisation was rolled back once, also after a restart', async () => {
    const id = randomUUID();
    const { database, vault } = server;
    const administratorKey = generateApiKey();
    const organisation = { id, name: 'Acme', projectName: 'First project', administratorKey };
    const createInTransaction = (tx: EntityManager) =>
      createOrganisation(tx, { database, vault }, organisation);
    const brokenOff = database.asSystem().transactional(async (tx) => {
      await createInTransaction(tx);
      throw new Error('broken off');
    });
    await expect(brokenOff).rejects.toThrow('broken off');
    await database.asSystem().transactional(createInTransaction);
    await server.clientFor(administratorKey.reveal()).request(createMutation, okta());
    const restarted = server.restartedVault();
    expect(await verifyChain(() => database.forOrganisation(id), restarted, id)).toEqual({ events: 2 });
  });

  it.each([
    [
      'edited',
      3,
      (org: string) => [`update audit_event set outcome = 'NOT_FOUND' where org_id = '${org}' and seq = 3`],
    ],
    [
      'edited',
      2,
      (org: string) => [`update audit_event set key_id = null where org_id = '${org}' and seq = 2`],
    ],
    ['removed', 3, (org: string) => [`delete from audit_event where org_id = '${org}' and seq = 3`]],
    ['removed', 5, (org: string) => [`delete from audit_event where org_id = '${org}' and seq = 5`]],
    [
      'reordered',
      3,
      (org: string) => [
        `update audit_event set seq = 99 where org_id = '${org}' and seq = 3`,
        `update audit_event set seq = 3 where org_id = '${org}' and seq = 4`,
        `update audit_event set seq = 4 where org_id = '${org}' and seq = 99`,
      ],
    ],
    [
      'reordered',
      4,
      (org: string) => [
        `delete from audit_event where org_id = '${org}' and seq = 4`,
        `update audit_event set seq = 4 where org_id = '${org}' and seq = 5`,
      ],
    ],
  ])('finds the first event that was %s: %i', async (problem, seq, statements) => {
    const organisation = await server.newOrganisation();
    for (const name of ['a', 'b', 'c', 'd', 'e']) await create(organisation, name);
    expect(await check(organisation.orgId)).toEqual({ events: 5 });
    await tamper(...statements(organisation.orgId));
    expect(await check(organisation.orgId)).toEqual({ seq, problem });
  });

  it.each([
    [
      'truncated with its head set back',
      2,
      (org: string) => [
        `delete from audit_event where org_id = '${org}' and seq = 3`,
        `update audit_head set seq = 2, hash = (select hash from audit_event where org_id = '${org}' and seq = 2)
          where org_id = '${org}'`,
      ],
    ],
    [
      'emptied with its head set back',
      0,
      (org: string) => [
        `delete from audit_event where org_id = '${org}'`,
        `update audit_head set seq = 0, hash = '' where org_id = '${org}'`,
      ],
    ],
    [
      'emptied together with its head',
      0,
      (org: string) => [
        `delete from audit_event where org_id = '${org}'`,
        `delete from audit_head where org_id = '${org}'`,
      ],
    ],
    ['without a head', 3, (org: string) => [`delete from audit_head where org_id = '${org}'`]],
    [
      'with the head of another organisation',
      3,
      (org: string) => [
        `update audit_head set (seq, hash, mac) = (select seq, hash, mac from audit_head other
          where other.org_id <> '${org}' and other.seq > 0 limit 1) where org_id = '${org}'`,
      ],
    ],
  ])('rejects further changes to a trail %s', async (_, seq, statements) => {
    const organisation = await server.newOrganisation();
    for (const name of ['a', 'b', 'c']) await create(organisation, name);
    await tamper(...statements(organisation.orgId));
    expect(await check(organisation.orgId)).toEqual({ seq, problem: 'head' });
    const [error] = await errorsOf(organisation.client.request(createMutation, okta({ name: 'd' })));
    expect(error?.extensions.code).toBe('INTERNAL_SERVER_ERROR');
    const names = await server
      .asOwner()
      .execute('select name from app_connection where org_id = ? order by name', [organisation.orgId]);
    expect(names).toEqual([{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
  });
});

describe('npm run audit:verify', () => {
  it.runIf(testDatabaseUrl)('verifies each chain and reports the broken ones', async () => {
    const own = await startTestServer();
    const [intact, broken] = [await own.newOrganisation(), await own.newOrganisation()];
    for (const organisation of [intact, broken]) await create(organisation);
    const audit = async (rootKey = own.rootKey) => {
      const { location } = own;
      const environment = {
        DATABASE_URL: location.kind === 'postgresql' ? location.url.reveal() : '',
        ENCRYPTION_KEYS: rootKey,
      };
      const { code, stdout, stderr } = await runScript('launch.js', environment, 'audit:verify');
      return { stdout: stdout + stderr, code };
    };
    expect(await audit()).toEqual({
      code: 0,
      stdout: expect.stringContaining(`organisation ${broken.orgId}: 1 event, intact`),
    });
    expect(await audit(rootKey('test'))).toEqual({
      code: 1,
      stdout: expect.stringMatching(/^Cannot verify: ENCRYPTION_KEYS: "test" is not the key [^\n]*\n$/),
    });
    const em = own.asOwner();
    await em.execute('alter table audit_event disable trigger all');
    await em.execute(`update audit_event set address = 'elsewhere' where org_id = '${broken.orgId}'`);
    const result = await audit();
    expect(result.code).toBe(1);
    expect(result.stdout).toContain(`organisation ${broken.orgId}: event 1 was edited`);
    expect(result.stdout).toContain(`organisation ${intact.orgId}: 1 event, intact`);
    await own.close();
  });
});
