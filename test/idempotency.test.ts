import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IdempotentRequest } from '../src/connections/idempotency.entity.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { startOkta } from './testkit/okta.ts';
import { createConnection, type Listed, listQuery, okta } from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';

const trusted = new Set<string>();
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ config: { trustedInstanceHosts: trusted } });
});
afterAll(() => server.close());

const update = gql`
  mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { version name description updatedAt } }
  }
`;
const remove = gql`
  mutation ($id: UUID!, $idempotencyKey: String, $purge: Boolean! = false) {
    deleteAppConnection(id: $id, idempotencyKey: $idempotencyKey, purge: $purge) { id restorableUntil }
  }
`;

async function countConnections({ client }: TestOrganisation): Promise<number> {
  return (await client.request<Listed>(listQuery)).appConnections.totalCount;
}

describe('same request under the same idempotency key', () => {
  test('creates once and returns the first result again, also after the connection has changed', async () => {
    await using upstream = await startOkta();
    trusted.add(upstream.hostPort);
    const organisation = await server.newOrganisation();
    const idempotencyKey = randomUUID();
    const credentials = { instanceUrl: upstream.origin };
    const first = await createConnection(organisation, { idempotencyKey, description: 'Once' }, credentials);
    const requestsBefore = upstream.requests.length;
    await organisation.client.request(update, { id: first.id, input: { name: 'renamed' } });
    expect(
      await createConnection(organisation, { idempotencyKey, description: 'Once' }, credentials),
    ).toEqual(first);
    expect(upstream.requests).toHaveLength(requestsBefore);
    expect(await countConnections(organisation)).toBe(1);
  });

  test('creates one connection for 50 concurrent requests', async () => {
    const organisation = await server.newOrganisation();
    const idempotencyKey = randomUUID();
    const created = await Promise.all(
      Array.from({ length: 50 }, () => createConnection(organisation, { idempotencyKey })),
    );
    expect(new Set(created.map(({ id }) => id)).size).toBe(1);
    expect(await countConnections(organisation)).toBe(1);
  });

  test('updates once for 20 concurrent requests', async () => {
    const organisation = await server.newOrganisation();
    const { id } = await createConnection(organisation, {});
    const input = { description: 'Changed', idempotencyKey: randomUUID() };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => organisation.client.request(update, { id, input })),
    );
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    const { updateOktaConnection } = await organisation.client.request<{
      updateOktaConnection: { appConnection: { version: number } };
    }>(update, { id, input: {} });
    expect(updateOktaConnection.appConnection.version).toBe(2);
  });

  test('answers an update that changes nothing, stores no record for it, and applies it once when repeated later', async () => {
    const organisation = await server.newOrganisation();
    const { orgId, client } = organisation;
    const { id } = await createConnection(organisation, { description: 'Same' });
    const input = { description: 'Same', idempotencyKey: randomUUID() };
    const answers = [
      await client.request(update, { id, input }),
      await client.request(update, { id, input }),
    ];
    expect(answers[1]).toEqual(answers[0]);
    expect(await server.asOwner().count(IdempotentRequest, { orgId })).toBe(0);
    await client.request(update, { id, input: { description: 'Other' } });
    const changed = await client.request(update, { id, input });
    expect(changed).toMatchObject({
      updateOktaConnection: { appConnection: { version: 3, description: 'Same' } },
    });
    expect(await client.request(update, { id, input })).toEqual(changed);
    expect(await server.asOwner().count(IdempotentRequest, { orgId })).toBe(1);
  });

  test('deletes once for 20 concurrent requests', async () => {
    const organisation = await server.newOrganisation();
    for (const purge of [false, true]) {
      const { id } = await createConnection(organisation, { name: `purge-${purge}` });
      const variables = { id, purge, idempotencyKey: randomUUID() };
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => organisation.client.request(remove, variables)),
      );
      for (const answer of answers) expect(answer).toEqual(answers[0]);
    }
  });

  test('is carried out again after it was refused', async () => {
    const organisation = await server.newOrganisation();
    const idempotencyKey = randomUUID();
    const input = { name: 'second-try', idempotencyKey };
    const taken = await createConnection(organisation, { name: 'second-try' });
    await errorsOf(createConnection(organisation, input));
    await organisation.client.request(remove, { id: taken.id });
    expect(await createConnection(organisation, input)).toMatchObject({ name: 'second-try' });
  });
});

describe('different request under the same idempotency key', () => {
  test.each([
    ['another name', { name: 'other' }, {}],
    ['another token', {}, { apiToken: 'another-token' }],
    ['another host', {}, { instanceUrl: 'https://other.example' }],
    ['a description', { description: 'More' }, {}],
  ])('fails with a conflict: %s', async (_, differing, credentials) => {
    const organisation = await server.newOrganisation();
    const idempotencyKey = randomUUID();
    await createConnection(organisation, { idempotencyKey });
    const [error] = await errorsOf(
      createConnection(organisation, { idempotencyKey, ...differing }, credentials),
    );
    expect(error?.extensions).toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
      issues: [{ path: ['idempotencyKey'] }],
    });
    expect(await countConnections(organisation)).toBe(1);
  });

  test('fails with a conflict for another operation', async () => {
    const organisation = await server.newOrganisation();
    const idempotencyKey = randomUUID();
    const { id } = await createConnection(organisation, { idempotencyKey });
    const [error] = await errorsOf(organisation.client.request(remove, { id, idempotencyKey }));
    expect(error?.extensions.code).toBe('IDEMPOTENCY_CONFLICT');
  });

  test('does not conflict for another API key, or a day later', async () => {
    const organisation = await server.newOrganisation();
    const idempotencyKey = randomUUID();
    const { id } = await createConnection(organisation, { name: 'one', idempotencyKey });
    const another = {
      ...organisation,
      client: server.clientFor(await organisation.newKey(['connections:write', 'connections:read'])),
    };
    await createConnection(another, { name: 'two', idempotencyKey });
    await changeRows(server, IdempotentRequest, { orgId: organisation.orgId }, () => ({
      createdAt: new Date(Date.now() - 25 * 3_600_000),
    }));
    expect((await createConnection(organisation, { name: 'three', idempotencyKey })).id).not.toBe(id);
  });

  test.each(['', 'two words', 'x'.repeat(129), 'ünï'])(
    'rejects an invalid idempotency key: %j',
    async (key) => {
      const organisation = await server.newOrganisation();
      const { id } = await createConnection(organisation, {});
      const [inInput] = await errorsOf(createConnection(organisation, { name: 'b', idempotencyKey: key }));
      expect(inInput?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        issues: [{ path: ['input', 'idempotencyKey'] }],
      });
      const [inArgument] = await errorsOf(organisation.client.request(remove, { id, idempotencyKey: key }));
      expect(inArgument?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        issues: [{ path: ['idempotencyKey'] }],
      });
    },
  );
});

test('stores no token, no credentials and no name in idempotency records', async () => {
  const organisation = await server.newOrganisation();
  await createConnection(
    organisation,
    { name: 'kept', idempotencyKey: '00planted-as-key' },
    { apiToken: '00planted-planted-planted' },
  );
  const rows = JSON.stringify(await server.asOwner().execute('select * from idempotent_request'));
  expect(rows).toContain('kept');
  expect(rows).not.toMatch(/00planted|sealed|eyJ[\w-]*\./);
});

test.skipIf(!testDatabaseUrl)('executes a request once when two servers share a database', async () => {
  const second = await startTestServer({ beside: server });
  const organisation = await server.newOrganisation();
  const there = { ...organisation, client: second.clientFor(organisation.apiKey) };
  const idempotencyKey = randomUUID();
  const created = await Promise.all(
    Array.from({ length: 20 }, (_, i) => createConnection(i % 2 ? organisation : there, { idempotencyKey })),
  );
  expect(new Set(created.map(({ id }) => id)).size).toBe(1);
  await second.close();
});

describe('REST header Idempotency-Key', () => {
  const send = async (apiKey: string, method: string, path: string, key: string, body?: object) => {
    const response = await fetch(`${server.url}/api/v1/app-connections/okta${path}`, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        'idempotency-key': key,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };

  test('creates, updates and deletes once for repeated requests', async () => {
    const { apiKey } = await server.newOrganisation();
    const input = okta({ method: 'api-token' }).input;
    const created = await send(apiKey, 'POST', '', 'one', input);
    expect(created.status).toBe(200);
    expect(await send(apiKey, 'POST', '', 'one', input)).toEqual(created);
    const path = `/${created.body.appConnection.id}`;
    const changed = await send(apiKey, 'PATCH', path, 'two', { description: 'Changed' });
    expect(changed.body.appConnection.version).toBe(2);
    expect(await send(apiKey, 'PATCH', path, 'two', { description: 'Changed' })).toEqual(changed);
    const deleted = await send(apiKey, 'DELETE', path, 'three');
    expect(deleted.status).toBe(200);
    expect(await send(apiKey, 'DELETE', path, 'three')).toEqual(deleted);
    const conflict = await send(apiKey, 'POST', '', 'one', { ...input, name: 'other' });
    expect(conflict).toMatchObject({ status: 409, body: { code: 'IDEMPOTENCY_CONFLICT' } });
  });

  test('rejects an invalid key', async () => {
    const { apiKey } = await server.newOrganisation();
    const refused = await send(apiKey, 'POST', '', 'two words', okta({ method: 'api-token' }).input);
    expect(refused).toMatchObject({ status: 422, body: { issues: [{ path: ['idempotency-key'] }] } });
  });
});
