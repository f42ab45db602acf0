import { randomUUID } from 'node:crypto';
import { type GraphQLClient, gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { AuditEvent } from '../src/audit/audit-event.entity.ts';
import { maxRefusalsOfCaller, maxRefusalsOfOrganisation } from '../src/audit/refusal-counter.ts';
import { verifyChain } from '../src/audit/verify-chain.ts';
import type { Scope } from '../src/identity/caller.ts';
import { lastingData } from './testkit/database.ts';
import { createConnection } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 60_000 });

/** The maximum number of aliases of one field in a request. */
const aliases = 15;

let server: TestServer;
/** A server with windows of one second, so that they end during a test. */
let serverWithShortWindows: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  serverWithShortWindows = await startTestServer({ rates: { windowSeconds: 1 } });
});
afterAll(() => Promise.all([server.close(), serverWithShortWindows.close()]));

async function listRefusals(testServer: TestServer, { orgId }: TestOrganisation): Promise<AuditEvent[]> {
  const events = await testServer.asOwner().find(AuditEvent, { orgId }, { orderBy: { seq: 'asc' } });
  return events.filter(({ outcome }) => outcome !== 'OK');
}

const countAttempts = (events: AuditEvent[]) => events.reduce((sum, { count }) => sum + (count ?? 1), 0);

/** Sends mutations, fifteen per request, and asserts that each fails. */
async function expectRefusals(client: GraphQLClient, fields: readonly string[]): Promise<void> {
  for (let start = 0; start < fields.length; start += aliases) {
    const batch = fields.slice(start, start + aliases);
    const errors = await errorsOf(
      client.request(`mutation { ${batch.map((field, index) => `a${index}: ${field}`).join(' ')} }`),
    );
    expect(errors).toHaveLength(batch.length);
  }
}

const remove = (id: string) => `deleteAppConnection(id: "${id}") { id }`;
const newId = () => randomUUID();
const key = (organisation: TestOrganisation, scopes: readonly Scope[]) => organisation.newKey(scopes);

describe('repeated identical refusal', () => {
  test.each<[string, readonly Scope[], (id: string) => string, string]>([
    [
      'a missing scope',
      ['connections:read'],
      () => remove('6f03caa1-a5de-43ce-b127-95a145d3464c'),
      'FORBIDDEN',
    ],
    [
      'a missing connection',
      ['connections:write'],
      () => remove('6f03caa1-a5de-43ce-b127-95a145d3464c'),
      'NOT_FOUND',
    ],
    [
      'a stale version',
      ['connections:write'],
      (id) =>
        `updateOktaConnection(id: "${id}", input: { version: 9, description: "x" }) { appConnection { id } }`,
      'VERSION_CONFLICT',
    ],
    [
      'a forbidden project',
      ['connections:read'],
      () => 'createProject(input: { name: "Mine" }) { project { id } }',
      'FORBIDDEN',
    ],
  ])('records one event at once, and none for the repeats: %s', async (_, scopes, field, code) => {
    const organisation = await server.newOrganisation();
    const { id } = await createConnection(organisation);
    const client = server.clientFor(await key(organisation, scopes));
    const before = server.logs().length;
    await expectRefusals(client, Array(150).fill(field(id)));
    const events = await listRefusals(server, organisation);
    expect(events.map(({ outcome, count }) => [outcome, count ?? 1])).toEqual([[code, 1]]);
    const appended = server.logs().slice(before).split('update audit_head').length - 1;
    expect(appended).toBe(1);
  });

  test('records one event per window with the number of repeats, in a valid hash chain', async () => {
    const organisation = await serverWithShortWindows.newOrganisation();
    const client = serverWithShortWindows.clientFor(await key(organisation, ['connections:read']));
    await expectRefusals(client, Array(60).fill(remove(newId())));
    const events = await until('all refusals are recorded', async () => {
      const all = await listRefusals(serverWithShortWindows, organisation);
      return countAttempts(all) === 60 ? all : undefined;
    });
    expect(events[0]?.count ?? 1).toBe(1);
    expect(events.length).toBeLessThan(10);
    const { auditEvents } = await organisation.client.request<{
      auditEvents: { nodes: { count: number }[] };
    }>(gql`{ auditEvents(filter: { outcome: "FORBIDDEN" }) { nodes { count } } }`);
    expect(auditEvents.nodes.reduce((sum, { count }) => sum + count, 0)).toBe(60);
    const chain = await verifyChain(
      () => serverWithShortWindows.database.asSystem(),
      serverWithShortWindows.vault,
      organisation.orgId,
    );
    expect(chain).toEqual({ events: events.length });
    await serverWithShortWindows.asOwner().execute('alter table audit_event disable trigger all');
    await serverWithShortWindows
      .asOwner()
      .execute('update audit_event set count = count + 1 where org_id = ? and count > 1', [
        organisation.orgId,
      ]);
    await serverWithShortWindows.asOwner().execute('alter table audit_event enable trigger all');
    const edited = await verifyChain(
      () => serverWithShortWindows.database.asSystem(),
      serverWithShortWindows.vault,
      organisation.orgId,
    );
    expect(edited).toMatchObject({ problem: 'edited' });
  });
});

describe('different refusals', () => {
  test('record their own events up to the limit of the caller, and one event for the rest', async () => {
    const organisation = await serverWithShortWindows.newOrganisation();
    const client = serverWithShortWindows.clientFor(await key(organisation, ['connections:write']));
    const ids = Array.from({ length: 90 }, newId);
    await expectRefusals(client, ids.map(remove));
    const events = await until('all refusals are recorded', async () => {
      const all = await listRefusals(serverWithShortWindows, organisation);
      return countAttempts(all) === ids.length ? all : undefined;
    });
    const summaries = events.filter(({ connectionId }) => connectionId === null);
    expect(summaries.length).toBeGreaterThan(0);
    for (const { action, outcome, keyId } of summaries) {
      expect({ action, outcome }).toEqual({ action: 'DELETE_CONNECTION', outcome: 'NOT_FOUND' });
      expect(keyId).not.toBeNull();
    }
  });

  test('record no more events than the limit of the caller within a window', async () => {
    const organisation = await server.newOrganisation();
    const client = server.clientFor(await key(organisation, ['connections:write']));
    await expectRefusals(
      client,
      Array.from({ length: 300 }, () => remove(newId())),
    );
    expect(await listRefusals(server, organisation)).toHaveLength(maxRefusalsOfCaller);
  });

  test('record no more events than the limit of the organisation, with any number of keys', async () => {
    const organisation = await server.newOrganisation();
    for (let index = 0; index < 8; index += 1) {
      const client = server.clientFor(await key(organisation, ['connections:read']));
      await expectRefusals(
        client,
        Array.from({ length: 30 }, () => remove(newId())),
      );
    }
    const { length } = await listRefusals(server, organisation);
    expect(length).toBeLessThanOrEqual(maxRefusalsOfOrganisation);
    expect(length).toBeGreaterThan(maxRefusalsOfCaller);
  });

  test('do not use up the limit of another organisation', async () => {
    const other = await server.newOrganisation();
    const client = server.clientFor(await key(other, ['connections:read']));
    await expectRefusals(client, [remove(newId())]);
    expect(await listRefusals(server, other)).toHaveLength(1);
  });
});

test('writes the counted refusals to the audit trail when the server stops', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  const rootKeys = rootKey('k1');
  const first = await startTestServer({ location, rootKeys });
  const organisation = await first.newOrganisation();
  const client = first.clientFor(await key(organisation, ['connections:read']));
  await expectRefusals(client, Array(45).fill(remove(newId())));
  await expectRefusals(
    client,
    Array.from({ length: 60 }, () => remove(newId())),
  );
  await first.close();
  const second = await startTestServer({ location, rootKeys });
  expect(countAttempts(await listRefusals(second, organisation))).toBe(105);
  await second.close();
});
