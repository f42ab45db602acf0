import { hash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { maxRefusalsOfCaller } from '../src/audit/refusal-counter.ts';
import type { Scope } from '../src/identity/caller.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { startRateLimitedServer } from './testkit/rates.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

vi.setConfig({ testTimeout: 60_000 });

/** The maximum number of aliases of one field in a request. */
const aliases = 15;
const attempts = 60;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Returns the number of rows and bytes of all tables. */
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

/** The input of a mutation. */
interface Given {
  /** A connection of the organisation. */
  id: string;
  name: string;
  projectId: string;
}

type Field = (given: Given, index: number) => string;

/** Sends mutations, fifteen per request. */
async function send(each: TestServer, key: string, given: Given, field: Field, count = attempts) {
  const fields = Array.from({ length: count }, (_, index) => `a${index}: ${field(given, index)}`);
  const responses = [];
  for (let start = 0; start < count; start += aliases) {
    const query = `mutation { ${fields.slice(start, start + aliases).join(' ')} }`;
    const response = await fetch(each.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    });
    responses.push(await response.text());
  }
  return responses.join('\n');
}

async function newCaller(each: TestServer, scopes: readonly Scope[]) {
  const { client, newKey, projectId, orgId } = await each.newOrganisation();
  const { createOktaConnection } = await client.request<Created>(createMutation, okta());
  const key = await newKey(scopes);
  // The first use of a key sets last_used_at.
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

describe('repeated requests that change nothing', () => {
  it.each<[string, readonly Scope[], Field]>([
    ['an empty update', ['connections:write'], ({ id }) => update(id, 'version: 1')],
    ['an update to the same name', ['connections:write'], ({ id, name }) => update(id, `name: "${name}"`)],
    ['an update to the same description', ['connections:write'], ({ id }) => update(id, 'description: null')],
    [
      'an update to the same instance URL',
      ['connections:write'],
      ({ id }) => update(id, 'credentials: { instanceUrl: "https://EXAMPLE.okta.com/" }'),
    ],
    [
      'renaming a project to its current name',
      ['access:admin'],
      ({ projectId }) => `renameProject(id: "${projectId}", name: "Test project") { project { id } }`,
    ],
    [
      'validating credentials',
      ['connections:verify'],
      () =>
        'validateOktaCredentials(credentials: { instanceUrl: "https://example.okta.com", apiToken: "revoked-token" }) { code }',
    ],
  ])('add no row and no byte: %s', async (_, scopes, field) => {
    const { key, given } = await newCaller(server, scopes);
    const before = await measure(server);
    const responses = await send(server, key, given, field);
    expect(responses).not.toContain('errors');
    expect(await measure(server)).toEqual(before);
  });
});

describe('repeated rejected requests under changing idempotency keys', () => {
  it.each<[string, readonly Scope[], Field, string]>([
    [
      'a create rejected by Okta',
      ['connections:write'],
      ({ projectId }) => refusedCreate(projectId),
      'CREDENTIALS_REJECTED',
    ],
    [
      'a restore of a connection that is not deleted',
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
  ])('add one row: %s', async (_, scopes, field, code) => {
    const { key, given } = await newCaller(server, scopes);
    const before = await measure(server);
    expect(await send(server, key, given, field)).toContain(code);
    const after = await measure(server);
    expect(after.rows - before.rows).toBe(1);
    expect(after.bytes - before.bytes).toBeLessThan(1_000);
  });

  it("add rows up to the caller's limit for deletions of unknown connections", async () => {
    const { key, given } = await newCaller(server, ['connections:write']);
    const before = await measure(server);
    const field = () => `deleteAppConnection(id: "${randomUUID()}"${newKey()}) { id }`;
    expect(await send(server, key, given, field)).toContain('NOT_FOUND');
    const after = await measure(server);
    expect(after.rows - before.rows).toBe(maxRefusalsOfCaller);
    expect(after.bytes - before.bytes).toBeLessThan(maxRefusalsOfCaller * 1_000);
  });
});

describe('subscriptions and persisted queries', () => {
  it('add no row', async () => {
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
});

describe('accepted changes', () => {
  let limited: TestServer;
  beforeAll(async () => {
    limited = await startRateLimitedServer({
      change: { points: 20, leaseSize: 5 },
      changeOfOrganisation: { points: 50, leaseSize: 5 },
    });
  });
  afterAll(() => limited.close());

  it.each<[string, readonly Scope[], Field]>([
    [
      'updates of a connection',
      ['connections:write'],
      ({ id }, index) => update(id, `description: "${index}"`),
    ],
    [
      'deletions and restores',
      ['connections:write'],
      ({ id }, index) =>
        index % 2
          ? `restoreAppConnection(id: "${id}") { appConnection { id } }`
          : `deleteAppConnection(id: "${id}"${newKey()}) { id }`,
    ],
    [
      'new projects',
      ['access:admin'],
      (_, index) => `createProject(input: { name: "Project ${index}" }) { project { id } }`,
    ],
    [
      'renames of a project',
      ['access:admin'],
      ({ projectId }, index) => `renameProject(id: "${projectId}", name: "Name ${index}") { project { id } }`,
    ],
    [
      'new API keys',
      ['access:admin'],
      () => 'createApiKey(input: { name: "Key", scopes: [ACCESS_ADMIN] }) { apiKey { id } }',
    ],
  ])("add rows up to the caller's rate limit: %s", async (_, scopes, field) => {
    const { key, orgId, given } = await newCaller(limited, scopes);
    const countRows = async () => {
      const [found] = await limited
        .asOwner()
        .execute<{ count: number }[]>(
          "select count(*)::int as count from audit_event where outcome = 'OK' and org_id = ?",
          [orgId],
        );
      return found?.count ?? 0;
    };
    const before = await countRows();
    expect(await send(limited, key, given, field)).toContain('RATE_LIMITED');
    expect((await countRows()) - before).toBe(20);
  });
});
