import { hash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { maxRefusalsOfCaller } from '../src/audit/refusal-counter.ts';
import type { Scope } from '../src/identity/caller.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { startLimited } from './testkit/rates.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

vi.setConfig({ testTimeout: 60_000 });

/** As many fields of one request as may have the same name. */
const aliases = 15;
const attempts = 60;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** How many rows all tables have together, and how many bytes. */
async function measure(each: TestServer): Promise<{ rows: number; bytes: number }> {
  const em = each.asOwner();
  const tables: { name: string }[] = await em.execute(
    "select table_name as name from information_schema.tables where table_schema = 'public'",
  );
  const all = tables
    .map(({ name }) => `select pg_column_size(t.*)::int as size from "${name}" t`)
    .join(' union all ');
  const [sum] = await em.execute<{ rows: number; bytes: number }[]>(
    `select count(*)::int as rows, coalesce(sum(size), 0)::int as bytes from (${all}) as sizes`,
  );
  return sum ?? { rows: 0, bytes: 0 };
}

/** What a caller has to work with. */
interface Given {
  /** A connection of the organisation. */
  id: string;
  name: string;
  projectId: string;
}

type Field = (given: Given, index: number) => string;

/** Sends mutations, fifteen a request. */
async function send(each: TestServer, key: string, given: Given, field: Field, count = attempts) {
  const fields = Array.from({ length: count }, (_, index) => `a${index}: ${field(given, index)}`);
  const answers = [];
  for (let start = 0; start < count; start += aliases) {
    const query = `mutation { ${fields.slice(start, start + aliases).join(' ')} }`;
    const response = await fetch(each.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    });
    answers.push(await response.text());
  }
  return answers.join('\n');
}

async function newCaller(each: TestServer, scopes: readonly Scope[]) {
  const { client, newKey, projectId, orgId } = await each.newOrganisation();
  const { createOktaConnection } = await client.request<Created>(createMutation, okta());
  const key = await newKey(scopes);
  // To have used a key once is noted in its row.
  await each.clientFor(key).request('{ viewer { scopes } }');
  return {
    key,
    orgId,
    given: { id: createOktaConnection.appConnection.id, name: 'my-okta-connection', projectId },
  };
}

const credentials = '{ instanceUrl: "https://example.okta.com", apiToken: "revoked-token" }';
const newKey = () => `, idempotencyKey: "${randomUUID()}"`;
const refusedCreate = (projectId: string) =>
  `createOktaConnection(input: { name: "failed", projectId: "${projectId}", credentials: ${credentials}${newKey()} }) { appConnection { id } }`;
const update = (id: string, input: string) =>
  `updateOktaConnection(id: "${id}", input: { ${input}${newKey()} }) { appConnection { id } }`;

describe('what a caller repeats without changing anything leaves', () => {
  test.each<[string, readonly Scope[], Field]>([
    ['an update with nothing in it', ['connections:write'], ({ id }) => update(id, 'version: 1')],
    ['an update to the same name', ['connections:write'], ({ id, name }) => update(id, `name: "${name}"`)],
    ['an update to the same description', ['connections:write'], ({ id }) => update(id, 'description: null')],
    [
      'an update to the same instance URL',
      ['connections:write'],
      ({ id }) => update(id, 'credentials: { instanceUrl: "https://EXAMPLE.okta.com/" }'),
    ],
    [
      'a project renamed to its name',
      ['access:admin'],
      ({ projectId }) => `renameProject(id: "${projectId}", name: "Test project") { project { id } }`,
    ],
    [
      'credentials that are validated',
      ['connections:verify'],
      () =>
        'validateOktaCredentials(credentials: { instanceUrl: "https://example.okta.com", apiToken: "revoked-token" }) { code }',
    ],
  ])('no row, and no byte: %s', async (_, scopes, field) => {
    const { key, given } = await newCaller(server, scopes);
    const before = await measure(server);
    const answers = await send(server, key, given, field);
    expect(answers).not.toContain('errors');
    expect(await measure(server)).toEqual(before);
  });
});

describe('what is refused however often, under whatever idempotency key, leaves one row', () => {
  test.each<[string, readonly Scope[], Field, string]>([
    [
      'a create that Okta rejects',
      ['connections:write'],
      ({ projectId }) => refusedCreate(projectId),
      'CREDENTIALS_REJECTED',
    ],
    [
      'a restore of what is not deleted',
      ['connections:write'],
      ({ id }) => `restoreAppConnection(id: "${id}") { appConnection { id } }`,
      'NOT_FOUND',
    ],
    [
      'a verification without the scope',
      ['connections:read'],
      ({ id }) => `verifyAppConnection(id: "${id}") { appConnection { id } }`,
      'FORBIDDEN',
    ],
    [
      'a validation without the scope',
      ['connections:read'],
      () => `validateOktaCredentials(credentials: ${credentials}) { code }`,
      'FORBIDDEN',
    ],
  ])('%s', async (_, scopes, field, code) => {
    const { key, given } = await newCaller(server, scopes);
    const before = await measure(server);
    expect(await send(server, key, given, field)).toContain(code);
    const after = await measure(server);
    expect(after.rows - before.rows).toBe(1);
    expect(after.bytes - before.bytes).toBeLessThan(1_000);
  });

  test('deletions of connections that are not there, each with another id, up to the bound of a caller', async () => {
    const { key, given } = await newCaller(server, ['connections:write']);
    const before = await measure(server);
    const field = () => `deleteAppConnection(id: "${randomUUID()}"${newKey()}) { id }`;
    expect(await send(server, key, given, field)).toContain('NOT_FOUND');
    const after = await measure(server);
    expect(after.rows - before.rows).toBe(maxRefusalsOfCaller);
    expect(after.bytes - before.bytes).toBeLessThan(maxRefusalsOfCaller * 1_000);
  });
});

test('subscriptions and persisted queries leave no row', async () => {
  const { key } = await newCaller(server, ['connections:read']);
  const before = await measure(server);
  for (let index = 0; index < 20; index += 1) {
    await using changes = await subscribe(
      server.graphqlUrl,
      key,
      'subscription { appConnectionChanged { kind } }',
    );
    expect(changes).toBeDefined();
    const query = `{ appConnections { a${index}: totalCount } }`;
    const extensions = { persistedQuery: { version: 1, sha256Hash: hash('sha256', query) } };
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query, extensions }),
    });
    expect(await response.json()).toHaveProperty(`data.appConnections.a${index}`);
  }
  expect(await measure(server)).toEqual(before);
});

describe('changes', () => {
  let limited: TestServer;
  beforeAll(async () => {
    limited = await startLimited({
      change: { points: 20, block: 5 },
      changeOfOrganisation: { points: 50, block: 5 },
    });
  });
  afterAll(() => limited.close());

  test.each<[string, readonly Scope[], Field]>([
    ['of a connection', ['connections:write'], ({ id }, index) => update(id, `description: "${index}"`)],
    [
      'that delete and restore',
      ['connections:write'],
      ({ id }, index) =>
        index % 2
          ? `restoreAppConnection(id: "${id}") { appConnection { id } }`
          : `deleteAppConnection(id: "${id}"${newKey()}) { id }`,
    ],
    [
      'that make projects',
      ['access:admin'],
      (_, index) => `createProject(input: { name: "Project ${index}" }) { project { id } }`,
    ],
    [
      'that rename a project',
      ['access:admin'],
      ({ projectId }, index) => `renameProject(id: "${projectId}", name: "Name ${index}") { project { id } }`,
    ],
    [
      'that make API keys',
      ['access:admin'],
      () => 'createApiKey(input: { name: "Key", scopes: [ACCESS_ADMIN] }) { apiKey { id } }',
    ],
  ])('%s leave rows up to the limit of their caller', async (_, scopes, field) => {
    const { key, orgId, given } = await newCaller(limited, scopes);
    const countOf = async () => {
      const [found] = await limited
        .asOwner()
        .execute<{ count: number }[]>(
          "select count(*)::int as count from audit_event where outcome = 'OK' and org_id = ?",
          [orgId],
        );
      return found?.count ?? 0;
    };
    const before = await countOf();
    expect(await send(limited, key, given, field)).toContain('RATE_LIMITED');
    expect((await countOf()) - before).toBe(20);
  });
});
