import type { ClientError } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { currentTimeMs } from '../src/common/clock.ts';
import { listAuditEvents } from './testkit/access.ts';
import { type ConnectionFields, type Created, createMutation, okta } from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

describe('creating an Okta connection', () => {
  it('returns all fields but the token', async () => {
    const { client, orgId, projectId } = await server.newOrganisation();
    const before = currentTimeMs();
    const { createOktaConnection } = await client.request<Created>(
      createMutation,
      okta({ name: '  my-okta-connection ', description: '  For the directory sync. ', projectId }),
    );
    const created = createOktaConnection.appConnection;
    expect(created).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      name: 'my-okta-connection',
      description: 'For the directory sync.',
      app: 'OKTA',
      method: 'API_TOKEN',
      orgId,
      projectId,
      version: 1,
      createdAt: created.updatedAt,
      updatedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      isPlatformManagedCredentials: false,
      credentialsHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      credentials: {
        instanceUrl: 'https://example.okta.com',
        tokenOwner: {
          id: expect.stringMatching(/^00u/),
          login: expect.stringContaining('@'),
          status: 'ACTIVE',
        },
      },
      verification: {
        status: 'VERIFIED',
        checkedAt: created.createdAt,
        code: null,
        message: null,
        remedy: null,
        oktaRequestId: expect.any(String),
      },
    } satisfies Record<keyof ConnectionFields, unknown>);
    expect(Date.parse(created.createdAt)).toBeGreaterThanOrEqual(before);
  });

  it('requires neither project, description nor method', async () => {
    const { client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, okta());
    expect(createOktaConnection.appConnection).toMatchObject({
      projectId: null,
      description: null,
      method: 'API_TOKEN',
    });
  });

  it('accepts null for optional fields, and stores an empty description as null', async () => {
    const { client } = await server.newOrganisation();
    const { createOktaConnection: first } = await client.request<Created>(
      createMutation,
      okta({ description: null, projectId: null }),
    );
    expect(first.appConnection).toMatchObject({ projectId: null, description: null });
    const { createOktaConnection: second } = await client.request<Created>(
      createMutation,
      okta({ name: 'second', description: '   ' }),
    );
    expect(second.appConnection.description).toBeNull();
  });

  it('normalises the instance URL to its lower-case origin', async () => {
    const { client } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(
      createMutation,
      okta({}, { instanceUrl: ' https://EXAMPLE.okta.com/ ' }),
    );
    expect(createOktaConnection.appConnection.credentials.instanceUrl).toBe('https://example.okta.com');
  });

  it('reports all broken rules at once, each with its path and a remedy', async () => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(
      client.request(
        createMutation,
        okta(
          { name: 'My Connection', description: 'x'.repeat(257) },
          { instanceUrl: 'https://acme-admin.okta.com', apiToken: ' ' },
        ),
      ),
    );
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    expect(error?.extensions.issues).toEqual([
      {
        path: ['input', 'name'],
        message:
          'The name must be lower-case letters and digits with single hyphens between them, such as my-okta-connection.',
      },
      {
        path: ['input', 'description'],
        message: 'The description must have at most 256 characters, not 257.',
      },
      {
        path: ['input', 'credentials', 'instanceUrl'],
        message: expect.stringContaining('https://acme.okta.com'),
      },
      { path: ['input', 'credentials', 'apiToken'], message: expect.any(String) },
    ]);
    expect(error?.extensions.remedy).toMatch(/nothing was changed/);
  });

  it('reports all variables of wrong types at once, without echoing their values', async () => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(
      client.request(createMutation, {
        input: {
          name: 7,
          extra: 'x',
          credentials: { instanceUrl: 'https://example.okta.com', apiToken: 12 },
        },
      }),
    );
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    expect(error?.extensions.issues?.map(({ path }) => path)).toEqual(
      expect.arrayContaining([['input', 'name'], ['input', 'credentials', 'apiToken'], ['input']]),
    );
  });

  it('rejects the token in the name, description or instance URL', async () => {
    const { client } = await server.newOrganisation();
    const apiToken = '00abcdefghij0123456789';
    for (const [path, input] of [
      [['input', 'name'], okta({ name: apiToken }, { apiToken })],
      [['input', 'description'], okta({ description: `The token is ${apiToken}.` }, { apiToken })],
      [
        ['input', 'credentials', 'instanceUrl'],
        okta({}, { instanceUrl: `https://${apiToken}.invalid`, apiToken }),
      ],
    ] as const) {
      const [error] = await errorsOf(client.request(createMutation, input));
      expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path }] });
    }
  });

  it('fails with NAME_TAKEN for a name in use in the same scope, before a request to Okta', async () => {
    const { client, projectId } = await server.newOrganisation();
    for (const scope of [{}, { projectId }]) {
      await client.request(createMutation, okta(scope));
      // The fake Okta would reject this token.
      const [error] = await errorsOf(client.request(createMutation, okta(scope, { apiToken: 'revoked' })));
      expect(error?.extensions).toMatchObject({
        code: 'NAME_TAKEN',
        issues: [{ path: ['input', 'name'], message: expect.any(String) }],
      });
    }
  });

  it('allows two organisations to use the same name', async () => {
    for (const organisation of [await server.newOrganisation(), await server.newOrganisation()]) {
      await organisation.client.request(createMutation, okta());
    }
  });

  it('creates one of 20 concurrent connections with the same name and fails the others with NAME_TAKEN', async () => {
    const { client, projectId } = await server.newOrganisation();
    for (const scope of [{}, { projectId }]) {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, () => client.request(createMutation, okta(scope))),
      );
      const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
      expect(outcomes.length - refused.length).toBe(1);
      expect(new Set(refused.map((error) => error.response.errors[0].extensions.code))).toEqual(
        new Set(['NAME_TAKEN']),
      );
    }
  });

  it('does not let a failing create affect concurrent creates', async () => {
    const { client } = await server.newOrganisation();
    // The second create of a pair passes the check of the name and violates the unique index.
    const names = Array.from({ length: 12 }, (_, index) => [
      `alone-${index}`,
      `pair-${index}`,
      `pair-${index}`,
    ]);
    const results = await Promise.allSettled(
      names.flat().map((name) => client.request<Created>(createMutation, okta({ name }))),
    );
    const created = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const refused = results.flatMap((each) =>
      each.status === 'rejected' ? [each.reason as ClientError] : [],
    );
    expect(
      created.map(({ createOktaConnection: { appConnection } }) => appConnection.name).toSorted(),
    ).toEqual([...new Set(names.flat())].toSorted());
    expect(refused.map(({ response }) => response.errors?.[0]?.extensions.code)).toEqual(
      names.map(() => 'NAME_TAKEN'),
    );
    const outcomes = (await listAuditEvents(client)).map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === 'OK')).toHaveLength(24);
    expect(outcomes.filter((outcome) => outcome === 'NAME_TAKEN')).toHaveLength(12);
  });

  it("fails with NOT_FOUND for another organisation's project", async () => {
    const { client } = await server.newOrganisation();
    const other = await server.newOrganisation();
    const [error] = await errorsOf(client.request(createMutation, okta({ projectId: other.projectId })));
    expect(error?.extensions).toMatchObject({
      code: 'NOT_FOUND',
      issues: [{ path: ['input', 'projectId'], message: 'There is no such project.' }],
    });
  });

  it('requires connections:write', async () => {
    const { newKey } = await server.newOrganisation();
    const reader = server.clientFor(await newKey(['connections:read']));
    const [error] = await errorsOf(reader.request(createMutation, okta()));
    expect(error?.extensions.code).toBe('FORBIDDEN');
    expect(error?.extensions.remedy).toContain('connections:write');
  });
});
