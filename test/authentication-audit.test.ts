import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { type GraphQLClient, gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { AuditEvent } from '../src/audit/audit-event.entity.ts';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { scopes } from '../src/identity/caller.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import {
  checkChain,
  createKey,
  keysOf,
  listAuditEvents,
  listProjects,
  revokeKey,
  viewerOf,
} from './testkit/access.ts';
import { lastingData } from './testkit/database.ts';
import { runProgram } from './testkit/in-process.ts';
import { byIdQuery, byNameQuery, listQuery } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

// Some of these start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

let server: TestServer;
/** A server with windows of one second, so that they end during a test. */
let serverWithShortWindows: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  serverWithShortWindows = await startTestServer({ rates: { windowSeconds: 1 } });
});
afterAll(() => Promise.all([server.close(), serverWithShortWindows.close()]));

const create = gql`mutation ($name: String!) { createProject(input: { name: $name }) { project { id } } }`;
const rename = gql`mutation ($id: UUID!, $name: String!) { renameProject(id: $id, name: $name) { project { id } } }`;

/** The number of attempts that the events record. */
const total = (events: AuditEvent[]) => events.reduce((sum, { count }) => sum + (count ?? 1), 0);

/** The events of failed authentication in the trail of an organisation, or in the unattributed one. */
async function listFailedAuthentications(each: TestServer, orgId: string): Promise<AuditEvent[]> {
  return each.asOwner().find(AuditEvent, { orgId, action: 'SIGN_IN' }, { orderBy: { seq: 'asc' } });
}

describe('audit trail of access management', () => {
  test('records every grant, revocation, project change and refusal in one valid hash chain', async () => {
    const organisation = await server.newOrganisation();
    const { client, projectId, orgId } = organisation;
    const administrator = (await viewerOf(client)).apiKey?.id ?? '';
    const weak = await createKey(client, { name: 'Weak', scopes: ['CONNECTIONS_VERIFY'] });
    const some = await createKey(client, {
      ...{ name: 'Some', scopes: ['ACCESS_ADMIN'] },
      ...{ projectIds: [projectId], expiresAt: '2999-01-01T00:00:00Z' },
    });
    const [weakClient, someClient] = [server.clientFor(weak.key), server.clientFor(some.key)];
    const created = await client.request<{ createProject: { project: { id: string } } }>(create, {
      name: 'New',
    });
    const { id } = created.createProject.project;
    await client.request(rename, { id, name: 'Renamed' });
    await revokeKey(client, (await createKey(client, { name: 'Short-lived' })).apiKey.id);
    const before = (await listAuditEvents(client)).map(
      ({ action, outcome, keyId, targetName, changedFields }) => {
        expect([outcome, keyId]).toEqual(['OK', administrator]);
        return [action, targetName, changedFields];
      },
    );
    expect(before).toEqual([
      ['CREATE_API_KEY', 'Weak', ['name', 'scopes.connections:verify']],
      ['CREATE_API_KEY', 'Some', ['name', 'scopes.access:admin', 'projectIds', 'expiresAt']],
      ['CREATE_PROJECT', 'New', ['name']],
      ['RENAME_PROJECT', 'Renamed', ['name']],
      ['CREATE_API_KEY', 'Short-lived', ['name', ...scopes.map((scope) => `scopes.${scope}`)]],
      ['REVOKE_API_KEY', 'Short-lived', ['revokedAt']],
    ]);

    const elsewhere = randomUUID();
    const rest = restClient(server.url, weak.key);
    const list = async () => expect((await rest('GET', '/api/v1/app-connections')).status).toBe(403);
    const listen = async () => {
      const watching = 'subscription { appConnectionChanged { kind } }';
      await using changes = await subscribe(server.graphqlUrl, weak.key, watching);
      expect((await changes.next()).errors?.[0]?.extensions.code).toBe('FORBIDDEN');
    };
    const audit = (each: GraphQLClient) => each.request('{ auditEvents { nodes { seq } } }');
    // A repeated refusal increments the count of the first event.
    const counted = undefined;
    const refused: [() => Promise<unknown>, code: string, recorded: object | undefined][] = [
      [() => keysOf(weakClient), 'FORBIDDEN', { action: 'READ_API_KEYS' }],
      [() => listProjects(weakClient), 'FORBIDDEN', { action: 'READ_PROJECTS' }],
      [() => audit(weakClient), 'FORBIDDEN', { action: 'READ_AUDIT_EVENTS' }],
      [() => weakClient.request(listQuery), 'FORBIDDEN', { action: 'READ_CONNECTIONS' }],
      [() => weakClient.request(byIdQuery, { id }), 'FORBIDDEN', { action: 'READ_CONNECTIONS' }],
      [() => weakClient.request(byNameQuery, { name: 'x' }), 'FORBIDDEN', counted],
      [list, 'FORBIDDEN', counted],
      [listen, 'FORBIDDEN', counted],
      [() => createKey(weakClient), 'FORBIDDEN', { action: 'CREATE_API_KEY', targetName: 'Another' }],
      [() => createKey(someClient), 'FORBIDDEN', { action: 'CREATE_API_KEY', targetName: 'Another' }],
      [
        () => createKey(client, { name: 'Nowhere', projectIds: [elsewhere] }),
        'NOT_FOUND',
        { action: 'CREATE_API_KEY', targetName: 'Nowhere', apiKeyId: null },
      ],
      [
        () => revokeKey(weakClient, administrator),
        'FORBIDDEN',
        { action: 'REVOKE_API_KEY', apiKeyId: administrator },
      ],
      [() => revokeKey(client, elsewhere), 'NOT_FOUND', { action: 'REVOKE_API_KEY', apiKeyId: elsewhere }],
      [
        () => revokeKey(client, administrator),
        'LAST_ADMINISTRATOR',
        { action: 'REVOKE_API_KEY', apiKeyId: administrator },
      ],
      [
        () => someClient.request(create, { name: 'Mine' }),
        'FORBIDDEN',
        { action: 'CREATE_PROJECT', targetName: 'Mine', projectId: null },
      ],
      [
        () => client.request(create, { name: 'Renamed' }),
        'NAME_TAKEN',
        { action: 'CREATE_PROJECT', targetName: 'Renamed' },
      ],
      [
        () => weakClient.request(rename, { id, name: 'Theirs' }),
        'FORBIDDEN',
        { action: 'RENAME_PROJECT', projectId: id, targetName: 'Theirs' },
      ],
      [() => someClient.request(rename, { id, name: 'Theirs' }), 'FORBIDDEN', { action: 'RENAME_PROJECT' }],
      [
        () => client.request(rename, { id: projectId, name: 'Renamed' }),
        'NAME_TAKEN',
        { action: 'RENAME_PROJECT', projectId },
      ],
    ];
    for (const [attempt, outcome, recorded] of refused) {
      const length = (await listAuditEvents(client)).length;
      if (attempt !== list && attempt !== listen) {
        expect((await errorsOf(attempt()))[0]?.extensions.code).toBe(outcome);
      } else await attempt();
      const events = await listAuditEvents(client);
      expect(events.slice(length)).toEqual(
        recorded ? [expect.objectContaining({ outcome, changedFields: [], ...recorded })] : [],
      );
    }
    // Validation errors, and operations that need no scope, record no event.
    await errorsOf(createKey(client, { name: ' ' }));
    await errorsOf(client.request(create, { name: ' ' }));
    await viewerOf(weakClient);
    expect(await checkChain(server, orgId)).toEqual({
      events: before.length + refused.filter(([, , recorded]) => recorded).length,
    });
  });
});

describe('failed authentication', () => {
  /** Sends a rejected key through every API concurrently, and returns the number of attempts. */
  async function tryHard(key: string, each = server): Promise<number> {
    const rest = restClient(each.url, key);
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        await errorsOf(viewerOf(each.clientFor(key)));
        expect((await rest('GET', '/api/v1/app-connections')).status).toBe(401);
        const watching = 'subscription { appConnectionChanged { kind } }';
        await using changes = await subscribe(each.graphqlUrl, key, watching);
        expect((await changes.next()).errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
      }),
    );
    return 15;
  }

  test('with a revoked or expired key records one event a minute for each key in its organisation', async () => {
    const organisation = await server.newOrganisation();
    const { client, orgId, newKey } = organisation;
    const { key, apiKey } = await createKey(client);
    await revokeKey(client, apiKey.id);
    const expired = await newKey(['connections:read'], { expiresAt: new Date(Date.now() - 1) });
    const eventsBefore = (await listFailedAuthentications(server, unattributedOrgId)).length;
    await tryHard(key);
    await tryHard(expired);
    await tryHard(key);
    const recorded = await listFailedAuthentications(server, orgId);
    const expiredId = (await keysOf(client)).find(({ name }) => name === 'Another')?.id;
    expect(
      recorded.map(({ keyId, outcome, subject, address }) => [keyId, outcome, subject, address]),
    ).toEqual([
      [apiKey.id, 'UNAUTHENTICATED', null, '127.0.0.1'],
      [expiredId, 'UNAUTHENTICATED', null, '127.0.0.1'],
    ]);
    expect(await listFailedAuthentications(server, unattributedOrgId)).toHaveLength(eventsBefore);
  });

  test('with a revoked or expired key records one event per window with the number of repeats', async () => {
    const { client, orgId } = await serverWithShortWindows.newOrganisation();
    const { key, apiKey } = await createKey(client);
    await revokeKey(client, apiKey.id);
    const tried = (await tryHard(key, serverWithShortWindows)) + (await tryHard(key, serverWithShortWindows));
    const recorded = await until('all attempts are recorded', async () => {
      const all = await listFailedAuthentications(serverWithShortWindows, orgId);
      return total(all) === tried ? all : undefined;
    });
    expect(recorded[0]?.count).toBeNull();
    expect(recorded.length).toBeLessThan(tried / 2);
    expect(new Set(recorded.map(({ keyId }) => keyId))).toEqual(new Set([apiKey.id]));
    const { auditEvents } = await client.request<{ auditEvents: { nodes: { count: number }[] } }>(
      gql`{ auditEvents(filter: { action: SIGN_IN }) { nodes { count } } }`,
    );
    expect(auditEvents.nodes.reduce((sum, { count }) => sum + count, 0)).toBe(tried);
    expect(await checkChain(serverWithShortWindows, orgId)).toHaveProperty('events');
  });

  test('records its event even when other refusals have reached the limit of the organisation', async () => {
    const { client, orgId, newKey } = await server.newOrganisation();
    const { key, apiKey } = await createKey(client);
    await revokeKey(client, apiKey.id);
    for (let index = 0; index < 6; index += 1) {
      const other = server.clientFor(await newKey(['connections:read']));
      for (let request = 0; request < 2; request += 1) {
        const fields = Array.from(
          { length: 15 },
          (_, field) => `a${field}: deleteAppConnection(id: "${randomUUID()}") { id }`,
        );
        await errorsOf(other.request(`mutation { ${fields.join(' ')} }`));
      }
    }
    await errorsOf(viewerOf(server.clientFor(key)));
    expect((await listFailedAuthentications(server, orgId)).map(({ keyId }) => keyId)).toEqual([apiKey.id]);
  });

  test('records its event later when the database was unavailable', async () => {
    const { client, orgId } = await server.newOrganisation();
    const { key, apiKey } = await createKey(client);
    await revokeKey(client, apiKey.id);
    const owner = server.asOwner();
    await owner.execute('revoke insert on audit_event from app_connections_tenant');
    const codes = await Promise.all(
      [1, 2].map(async () => (await errorsOf(viewerOf(server.clientFor(key))))[0]?.extensions.code),
    );
    await owner.execute('grant insert on audit_event to app_connections_tenant');
    expect(codes).toContain('INTERNAL_SERVER_ERROR');
    expect(await listFailedAuthentications(server, orgId)).toEqual([]);
    await errorsOf(viewerOf(server.clientFor(key)));
    expect(await listFailedAuthentications(server, orgId)).toHaveLength(1);
  });

  test('with an unknown key is logged once a minute for each address, and recorded for no organisation', async () => {
    await using stack = new AsyncDisposableStack();
    const { location, environment } = await lastingData(stack);
    const own = await startTestServer({ location });
    const organisation = await own.newOrganisation();
    const good = organisation.apiKey;
    const { orgId, client } = organisation;
    const credentials = [
      `Bearer ${generateApiKey().reveal()}`,
      `Bearer ${good}x`,
      `Bearer ${good.slice(0, -1)}`,
      `Bearer ${good.slice(0, 20)}`,
      'Bearer an-unknown-key-of-plausible-length-and-form',
      'Bearer eyJhbGciOiJub25lIn0.e30.',
      `Basic ${good}`,
      good,
      'Bearer',
    ];
    for (const from of ['127.0.0.1', '127.0.0.2', '127.0.0.3']) {
      for (const authorization of credentials)
        expect(await statusFrom(from, own.url, authorization)).toBe(401);
    }
    // Requests without a credential, such as those of browsers and probes, are not failures.
    expect(await statusFrom('127.0.0.4', own.url)).toBe(401);
    expect((await listAuditEvents(client)).filter(({ action }) => action === 'SIGN_IN')).toEqual([]);
    const first = await listFailedAuthentications(own, unattributedOrgId);
    expect(first.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.2', '127.0.0.3']);
    expect(first.every(({ keyId, subject }) => keyId === null && subject === null)).toBe(true);
    // The first event is that of the server.
    expect(await checkChain(own, unattributedOrgId)).toEqual({ events: 4 });
    await own.close();

    const admin = (...args: string[]) =>
      runProgram('admin', { ...environment, ENCRYPTION_KEYS: own.rootKey }, ...args);
    const lines = (await admin('strangers')).stdout.trimEnd().split('\n');
    // The server records pending counts when it stops.
    const more = `  ${credentials.length - 1} more`;
    expect(lines.map((line) => line.slice(26))).toEqual([
      ...['127.0.0.3', '127.0.0.2', '127.0.0.1'].map((address) => address + more),
      ...['127.0.0.3', '127.0.0.2', '127.0.0.1'],
    ]);
    expect(lines.slice(3).map((line) => line.slice(0, 24))).toEqual(
      first.toReversed().map(({ at }) => at.toISOString()),
    );
    const listed = JSON.parse((await admin('organisations', '--json')).stdout);
    expect(listed).toEqual([expect.objectContaining({ id: orgId, name: 'Test organisation' })]);
    expect(await admin('create-key', '--org', unattributedOrgId)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('There is no such organisation.'),
    });
  });

  test('with unknown keys logs at most 100 clients a minute, from any number of addresses', async () => {
    const own = await startTestServer();
    const { client, orgId } = await own.newOrganisation();
    const { key, apiKey } = await createKey(client);
    await revokeKey(client, apiKey.id);
    const unknownKey = `Bearer ${generateApiKey().reveal()}`;
    const statuses = await Promise.all(
      Array.from({ length: 130 }, (_, i) => statusFrom(`127.0.1.${i + 1}`, own.url, unknownKey)),
    );
    expect(new Set(statuses)).toEqual(new Set([401]));
    expect(await listFailedAuthentications(own, unattributedOrgId)).toHaveLength(100);
    // A revoked key of an organisation is recorded nevertheless.
    await errorsOf(viewerOf(own.clientFor(key)));
    expect(await listFailedAuthentications(own, orgId)).toHaveLength(1);
    await own.close();
  });

  test('with more unknown keys than have log lines of their own logs the number of the others', async () => {
    const own = await startTestServer({ rates: { windowSeconds: 1 } });
    const unknownKey = `Bearer ${generateApiKey().reveal()}`;
    await Promise.all(
      Array.from({ length: 130 }, (_, i) => statusFrom(`127.0.1.${i + 1}`, own.url, unknownKey)),
    );
    await until(
      'all attempts are recorded',
      async () => total(await listFailedAuthentications(own, unattributedOrgId)) === 130 || undefined,
    );
    await own.close();
  });
});

/** Returns the status of a request from another address of this machine. */
async function statusFrom(localAddress: string, url: string, authorization?: string): Promise<number> {
  const headers = authorization === undefined ? {} : { authorization };
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  request(new URL('/api/v1/app-connections', url), { localAddress, headers, agent: false }, (response) => {
    response.resume().once('end', () => resolve(response.statusCode ?? 0));
  })
    .once('error', reject)
    .end();
  return promise;
}
