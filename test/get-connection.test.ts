import { generateKeyPairSync } from 'node:crypto';
import {
  type GraphQLOutputType,
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
} from 'graphql';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import {
  byIdQuery,
  byNameQuery,
  type ConnectionFields,
  createConnection,
  type Listed,
  listQuery,
} from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
/** The number of organisations in each statement that reads connections of several. */
const batches: number[] = [];
beforeAll(async () => {
  server = await startTestServer({
    wrap: (database) => ({
      ...database,
      selectOfOrganisations: async (entity, source) => {
        const rows = await database.selectOfOrganisations(entity, source);
        batches.push(new Set(rows.map((row) => Reflect.get(row, 'orgId'))).size);
        return rows;
      },
    }),
  });
});
afterAll(() => server.close());

describe('get connection', () => {
  test('returns by id and by name what create returned', async () => {
    const organisation = await server.newOrganisation();
    const { client, projectId } = organisation;
    const ofOrganisation = await createConnection(organisation, { description: 'One' });
    const ofProject = await createConnection(organisation, { description: 'Two', projectId });
    for (const connection of [ofOrganisation, ofProject]) {
      const byId = await client.request<{ appConnection: ConnectionFields }>(byIdQuery, {
        id: connection.id,
      });
      expect(byId.appConnection).toEqual(connection);
      const byName = await client.request<{ appConnectionByName: ConnectionFields }>(byNameQuery, {
        name: connection.name,
        projectId: connection.projectId,
      });
      expect(byName.appConnectionByName).toEqual(connection);
    }
  });

  test('accepts the id in upper case', async () => {
    const organisation = await server.newOrganisation();
    const connection = await createConnection(organisation);
    const found = await organisation.client.request<{ appConnection: ConnectionFields }>(byIdQuery, {
      id: connection.id.toUpperCase(),
    });
    expect(found.appConnection.id).toBe(connection.id);
  });

  test("returns the same NOT_FOUND for another organisation's connection and for an unknown id", async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const connection = await createConnection(theirs, { projectId: theirs.projectId });
    const missing = '00000000-0000-4000-8000-000000000000';
    const answers = await Promise.all(
      [
        mine.client.request(byIdQuery, { id: connection.id }),
        mine.client.request(byIdQuery, { id: missing }),
        mine.client.request(byNameQuery, { name: connection.name, projectId: theirs.projectId }),
        mine.client.request(byNameQuery, { name: connection.name }),
      ].map(async (request) =>
        (await errorsOf(request)).map(({ message, extensions }) => [message, extensions]),
      ),
    );
    expect(answers[0]?.[0]?.[1]).toMatchObject({ code: 'NOT_FOUND' });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  test('answers each of several organisations that ask at the same time with its own connections only', async () => {
    const organisations = await Promise.all(Array.from({ length: 5 }, () => server.newOrganisation()));
    const ids: string[] = [];
    for (const organisation of organisations) {
      const { projectId } = organisation;
      ids.push((await createConnection(organisation, { projectId })).id);
    }
    const query = `query (${ids.map((_, index) => `$id${index}: UUID!`)}) {
      ${ids.map((_, index) => `id${index}: appConnection(id: $id${index}) { id orgId }`)}
    }`;
    batches.length = 0;
    const variables = Object.fromEntries(ids.map((id, index) => [`id${index}`, id]));
    await Promise.all(
      organisations.flatMap(async ({ client, orgId }, own) => {
        const response = await client.rawRequest(query, variables).catch(({ response }) => response);
        expect(Object.values(response.data)).toEqual(
          ids.map((id, index) => (index === own ? { id, orgId } : null)),
        );
      }),
    );
    expect(Math.max(...batches)).toBeGreaterThan(1);
  });

  test('requires the scope connections:read', async () => {
    const organisation = await server.newOrganisation();
    const { id, name } = await createConnection(organisation);
    const writer = server.clientFor(await organisation.newKey(['connections:write']));
    const answers = await Promise.all([
      errorsOf(writer.request(byIdQuery, { id })),
      errorsOf(writer.request(byNameQuery, { name })),
      errorsOf(writer.request(listQuery)),
    ]);
    for (const [error] of answers) expect(error?.extensions.code).toBe('FORBIDDEN');
  });

  test.each([
    'not-a-uuid',
    '',
    '7ffbb072-2575-495a-b5b0-127f88caef78}',
    '{7ffbb072-2575-495a-b5b0-127f88caef78}',
    '7ffbb0722575495ab5b0127f88caef78',
  ])('rejects %j as an id with BAD_USER_INPUT', async (id) => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(client.request(byIdQuery, { id }));
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['id'] }] });
  });

  test('rejects an invalid name with BAD_USER_INPUT', async () => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(client.request(byNameQuery, { name: 'nul\u0000' }));
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: ['name'] }] });
  });
});

describe('list connections', () => {
  const names = (list: Listed) => list.appConnections.nodes.map(({ name }) => name);

  test('returns pages in order of name', async () => {
    const organisation = await server.newOrganisation();
    for (const name of ['delta', 'alpha', 'charlie', 'bravo', 'a-1', 'a1'])
      await createConnection(organisation, { name });
    const first = await organisation.client.request<Listed>(listQuery, { first: 4 });
    expect(names(first)).toEqual(['a-1', 'a1', 'alpha', 'bravo']);
    expect(first.appConnections).toMatchObject({ totalCount: 6, pageInfo: { hasNextPage: true } });
    const second = await organisation.client.request<Listed>(listQuery, {
      first: 4,
      after: first.appConnections.pageInfo.endCursor,
    });
    expect(names(second)).toEqual(['charlie', 'delta']);
    expect(second.appConnections).toMatchObject({ totalCount: 6, pageInfo: { hasNextPage: false } });
  });

  test('returns each of several connections with the same name exactly once', async () => {
    const organisation = await server.newOrganisation();
    const connection = [
      await createConnection(organisation, { name: 'same' }),
      await createConnection(organisation, { name: 'same', projectId: organisation.projectId }),
    ];
    const seen: string[] = [];
    for (let after: string | null = null, more = true; more; ) {
      const { appConnections }: Listed = await organisation.client.request(listQuery, { first: 1, after });
      seen.push(...appConnections.nodes.map(({ id }) => id));
      after = appConnections.pageInfo.endCursor;
      more = appConnections.pageInfo.hasNextPage;
    }
    expect(seen.sort()).toEqual(connection.map(({ id }) => id).sort());
  });

  test('filters by project, by no project, and by app', async () => {
    const organisation = await server.newOrganisation();
    const { client, projectId } = organisation;
    await createConnection(organisation, { name: 'own' });
    await createConnection(organisation, { name: 'of-project', projectId });
    expect(names(await client.request(listQuery))).toEqual(['of-project', 'own']);
    expect(names(await client.request(listQuery, { projectId }))).toEqual(['of-project']);
    expect(names(await client.request(listQuery, { projectId: null }))).toEqual(['own']);
    expect(names(await client.request(listQuery, { app: 'OKTA' }))).toEqual(['of-project', 'own']);
  });

  test('returns 20 by default, and no end cursor for an empty page', async () => {
    const organisation = await server.newOrganisation();
    const empty = await organisation.client.request<Listed>(listQuery);
    expect(empty.appConnections).toEqual({
      totalCount: 0,
      nodes: [],
      pageInfo: { hasNextPage: false, endCursor: null },
    });
    await Promise.all(
      Array.from({ length: 21 }, (_, i) => createConnection(organisation, { name: `c-${i}` })),
    );
    const full = await organisation.client.request<Listed>(listQuery);
    expect(full.appConnections.nodes).toHaveLength(20);
  });

  test("never returns another organisation's connections, even for the id of its project", async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    await createConnection(theirs, { projectId: theirs.projectId });
    for (const variables of [{}, { projectId: theirs.projectId }]) {
      const { appConnections } = await mine.client.request<Listed>(listQuery, variables);
      expect(appConnections).toMatchObject({ totalCount: 0, nodes: [] });
    }
  });

  test.each<[string, Record<string, unknown>]>([
    ['first', { first: 0 }],
    ['first', { first: 101 }],
    ['after', { after: 'nonsense' }],
    ['after', { after: Buffer.from('["name"]').toString('base64url') }],
    ['after', { after: Buffer.from('[{"$ne":1},"x"]').toString('base64url') }],
  ])('rejects an invalid %s: %o', async (path, variables) => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(client.request(listQuery, variables));
    expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path: [path] }] });
  });

  test('counts rows only when totalCount is selected', async () => {
    const { client } = await server.newOrganisation();
    const queries = async (document: string) => {
      const before = server.logs().length;
      await client.request(document);
      return server.logs().slice(before);
    };
    const withoutCount = gql`{ appConnections { nodes { id } } }`;
    const withCount = gql`{ appConnections { totalCount nodes { id } } }`;
    expect(await queries(withoutCount)).not.toContain('count(');
    expect(await queries(withCount)).toContain('count(');
  });

  test('reads no sealed credentials', async () => {
    const organisation = await server.newOrganisation();
    const connection = await createConnection(organisation);
    const before = server.logs().length;
    await organisation.client.request(byIdQuery, { id: connection.id });
    await organisation.client.request(listQuery);
    const queries = server.logs().slice(before);
    expect(queries).toContain('credentials_hash');
    expect(queries).not.toContain('sealed_credentials');
  });

  /** A selection for each single field of a connection. */
  function leafSelections(type: GraphQLOutputType): string[] {
    const named = getNamedType(type);
    if (!isCompositeType(named)) return [''];
    const shown = isInterfaceType(named) ? schema.getPossibleTypes(named) : [named];
    return shown.flatMap((each) =>
      Object.values(isObjectType(each) ? each.getFields() : {}).flatMap((field) =>
        leafSelections(field.type).map(
          (selection) => ` { ... on ${each.name} { ${field.name}${selection} } }`,
        ),
      ),
    );
  }
  const schema = createSchema(createApps({ trustedHosts: new Set() }));
  /** What a pending conversion never has: nothing was accepted yet, and this server has made the key of the service app. */
  const neverPending =
    /\bconversion \{.*(lastVerifiedAt|details|on OktaCredentials|on OktaServiceAppCredentials \{ keyId \}|keyRegistrationFailure)/;
  const selections = leafSelections(schema.getType('AppConnection') as GraphQLOutputType).filter(
    (selection) => !neverPending.test(selection),
  );

  /** Stores one call. */
  async function storeUsage(orgId: string, connectionId: string, caller: string): Promise<void> {
    const owner = server.asOwner();
    const hour = "date_trunc('hour', now())";
    await owner.execute(
      'insert into connection_last_use (org_id, connection_id, at, caller) values (?, ?, now(), ?)',
      [orgId, connectionId, caller],
    );
    await owner.execute(
      `insert into connection_usage_caller (org_id, connection_id, hour, caller, label, calls, failed_calls, bytes_up, bytes_down)
        values (?, ?, ${hour}, ?, 'a-program', 1, 0, 0, 1)`,
      [orgId, connectionId, caller],
    );
    await owner.execute(
      `insert into connection_usage (org_id, connection_id, hour, outcome, status_class, calls, bytes_up, bytes_down, durations)
        values (?, ?, ${hour}, 'OK', 2, 1, 0, 1, '{1}')`,
      [orgId, connectionId],
    );
  }

  const network = { connection: 'ZONE', include: ['nzo1'], exclude: ['nzo2'] };
  const time = '2026-01-05T09:30:00.000Z';
  const details = {
    warnings: [{ message: 'What', remedy: 'So' }],
    organisation: { id: '00o1', name: 'Example' },
    owner: {
      ...{ id: '00u1', login: 'ada@example.com', status: 'ACTIVE', isActive: true },
      roles: [{ type: 'CUSTOM', label: 'Readers' }],
    },
    apiTokens: [{ id: '00T1', name: 'One', created: time, lastUpdated: time, expiresAt: time, network }],
    clockDifferenceSeconds: 1,
  };

  test(`returns each of the ${selections.length} fields of a connection when it is selected alone`, async () => {
    const organisation = await server.newOrganisation();
    const { client, orgId, projectId } = organisation;
    const annotations = {
      tags: [{ key: 'env', value: 'prod' }],
      owner: { name: 'Ada', email: 'ada@example.com' },
      notes: 'Ask first.',
    };
    const { id } = await createConnection(organisation, {
      ...{ projectId, description: 'All of it', ...annotations },
    });
    const { id: other } = await createConnection(organisation);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await createConnection(
      organisation,
      { name: 'service-app', method: 'SERVICE_APP' },
      {
        apiToken: null,
        clientId: '0oa1ab2cd3EF4GH5i0d7',
        scopes: ['okta.users.read'],
        privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }),
        keyId: 'mine',
      },
    );
    // The rule of this policy has methods.
    await client.request(
      'mutation ($id: UUID!) { updateUsePolicy(connectionId: $id, input: { preset: LOGS_READ }) { usePolicy { version } } }',
      { id },
    );
    await client.request(
      `mutation ($id: UUID!) {
        convertOktaConnection(id: $id, to: { clientId: "0oa1ab2cd3EF4GH5i0d7", scopes: ["okta.users.read"] }) { appConnection { id } }
      }`,
      { id: other },
    );
    const refusal = { status: 'REJECTED', code: 'CREDENTIALS_REJECTED', message: 'What', remedy: 'So' };
    await server
      .asOwner()
      .execute('update app_connection set conversion_verification = ? where id = ?', [
        JSON.stringify({ ...refusal, checkedAt: time, failingSince: time, upstreamRequestId: 'a1' }),
        other,
      ]);
    await server.asOwner().execute(
      `update app_connection set verification_status = 'UNREACHABLE', verification_checked_at = now() + interval '1 minute',
        is_platform_managed_credentials = true, failing_since = now(), next_check_at = now() + interval '1 hour',
        check_delay = '{"since":"2026-11-30T12:00:00.000Z","code":"UPSTREAM_RATE_LIMITED","message":"The share is spent."}',
        verification_code = 'CREDENTIALS_REJECTED', verification_message = 'What', verification_remedy = 'So',
        verification_details = ?
        where org_id = ?`,
      [JSON.stringify(details), orgId],
    );
    const { organisation: owner, warnings, clockDifferenceSeconds } = details;
    const ofServiceApp = {
      ...{ organisation: owner, warnings, clockDifferenceSeconds, scopes: ['okta.users.read'] },
      ...{ usesDpop: true, hasAdminRole: true, roles: [{ type: 'CUSTOM', label: 'Readers' }] },
    };
    await server.asOwner().execute(
      `update app_connection set verification_details = ?, key_registration_failure = ?
          where org_id = ? and method = 'service-app'`,
      [
        JSON.stringify(ofServiceApp),
        JSON.stringify({ since: time, code: 'NOT_FOUND', message: 'What', remedy: 'So' }),
        orgId,
      ],
    );
    await server.asOwner().execute(
      `insert into host_certificate (org_id, origin, valid_from, valid_to, seen_at, due_at)
        values (?, 'https://example.okta.com', now(), now() + interval '90 days', now(), now() + interval '76 days')`,
      [orgId],
    );
    const { viewer } = await client.request<{ viewer: { apiKey: { id: string } } }>(
      '{ viewer { apiKey { id } } }',
    );
    // A caller is an API key or a subject.
    await storeUsage(orgId, id, `key:${viewer.apiKey.id}`);
    await storeUsage(orgId, other, 'subject:somebody');
    for (const selection of selections) {
      const { appConnections } = await client.request<{ appConnections: { nodes: unknown[] } }>(
        `{ appConnections(first: 3) { nodes${selection} } }`,
      );
      const leaf = (value: unknown): unknown =>
        typeof value === 'object' && value !== null
          ? Object.values(value)
              .map(leaf)
              .find((each) => each != null)
          : value;
      expect([selection, leaf(appConnections.nodes)]).toEqual([
        selection,
        expect.toSatisfy((value) => value != null),
      ]);
    }
  });
});
