import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { AuditEvent } from '../src/audit/audit-event.entity.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { startProvider } from './testkit/oidc.ts';
import { useServerWithOidc } from './testkit/oidc-server.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { errorsOf, type TestServer } from './testkit/server.ts';

const oidc = useServerWithOidc();
afterEach(() => {
  vi.useRealTimers();
});

const eventsQuery = gql`
  query ($filter: AuditEventFilter) {
    auditEvents(filter: $filter) { nodes { action outcome subject keyId address requestId } }
  }
`;

interface Event {
  action: string;
  outcome: string;
  subject: string | null;
  keyId: string | null;
  address: string | null;
  requestId: string | null;
}

async function listEvents(client: ReturnType<TestServer['clientFor']>, filter = {}): Promise<Event[]> {
  const { auditEvents } = await client.request<{ auditEvents: { nodes: Event[] } }>(eventsQuery, { filter });
  return auditEvents.nodes.reverse();
}

describe('audit trail and log of OIDC tokens', () => {
  test('name the subject of the token, and no API key', async () => {
    const { orgId, client } = await oidc.server.newOrganisation();
    const [writer, otherProvider] = [
      await oidc.provider.issue('writer', 'connections:write', { org: orgId }),
      await oidc.provider.issue('onlooker', '', { org: orgId }),
    ];
    await oidc.server.clientFor(writer).request(createMutation, okta());
    const refused = await restClient(oidc.server.url, otherProvider)('GET', '/api/v1/app-connections');
    await client.request(createMutation, okta({ name: 'made-with-a-key' }));
    const events = await listEvents(client);
    const [action, byToken] = ['CREATE_CONNECTION', { keyId: null, address: '127.0.0.1' }];
    expect(events).toMatchObject([
      { ...byToken, action, outcome: 'OK', subject: 'writer' },
      { ...byToken, action: 'READ_CONNECTIONS', outcome: 'FORBIDDEN', subject: 'onlooker' },
      { action, outcome: 'OK', subject: null, keyId: expect.any(String) },
    ]);
    expect(await listEvents(client, { subject: 'writer' })).toEqual([events[0]]);
    const lines = () =>
      oidc.server
        .logs()
        .split('\n')
        .filter((line) => line.includes('"msg":"request"') && line.includes(orgId))
        .map((line) => JSON.parse(line));
    const withoutPoolMs = () => lines().map(({ poolMs, ...line }) => line);
    await expect.poll(withoutPoolMs).toContainEqual({
      level: 'info',
      time: expect.any(String),
      server: expect.any(String),
      version: expect.any(String),
      requestId: refused.headers.get('x-request-id'),
      address: '127.0.0.1',
      method: 'GET',
      status: 403,
      path: '/api/v1/app-connections',
      operation: 'GET /api/v1/app-connections',
      orgId,
      subject: 'onlooker',
      ms: expect.any(Number),
      databaseMs: expect.any(Number),
      outcome: 'FORBIDDEN',
      msg: 'request',
    });
    expect(lines()).toContainEqual(
      expect.objectContaining({ operation: 'Create', subject: 'writer', outcome: 'OK' }),
    );
  });

  const seconds = () => Math.floor(Date.now() / 1_000);

  test.each([
    ['has expired', () => ({ exp: seconds() - 90 })],
    ['is not valid yet', () => ({ nbf: seconds() + 90 })],
    ['is valid for a year', () => ({ exp: seconds() + 31_536_000 })],
    ['is bound to a key', () => ({ cnf: { jkt: 'k' } })],
    ['is a logout token', () => ({ events: {} })],
  ])('record for the organisation that %s, with one event for each subject', async (_, claims) => {
    const { orgId: org, client } = await oidc.server.newOrganisation();
    const refuse = async (sub: string) =>
      errorsOf(
        oidc.server
          .clientFor(await oidc.provider.forge({ org, sub, ...claims() }))
          .request('{ viewer { subject } }'),
      );
    for (const sub of ['late', 'late', 'later']) await refuse(sub);
    const event = { action: 'SIGN_IN', outcome: 'UNAUTHENTICATED', keyId: null, address: '127.0.0.1' };
    const [late, later] = [
      { ...event, subject: 'late' },
      { ...event, subject: 'later' },
    ];
    expect(await listEvents(client)).toMatchObject([late, later]);
  });

  test('record no event for an organisation when the token does not prove it', async () => {
    const { orgId: org, client } = await oidc.server.newOrganisation();
    const [otherProvider, genuine] = [await startProvider(), await oidc.provider.forge({ org })];
    const eventsBefore = await oidc.server.asOwner().count(AuditEvent, { orgId: unattributedOrgId });
    const tokens = [
      await otherProvider.forge({ org, exp: seconds() - 90 }),
      genuine.replace(/[^.]+$/, 'AAAA'),
      await oidc.provider.forge({ org, aud: 'https://elsewhere.example', exp: seconds() - 90 }),
      await oidc.provider.forge({ org, iss: otherProvider.issuer, exp: seconds() - 90 }),
      await oidc.provider.forge({ org, sub: '\u0000', exp: seconds() - 90 }),
      await oidc.provider.forge({ org, projects: 'none', exp: seconds() - 90 }),
      await oidc.provider.forge({ org: randomUUID(), exp: seconds() - 90 }),
      await oidc.provider.forge({ org: unattributedOrgId, exp: seconds() - 90 }),
      await oidc.provider.forge({ org, projects: 'none' }),
      await oidc.provider.forge({ org: randomUUID() }),
    ];
    for (const token of tokens) {
      expect((await restClient(oidc.server.url, token)('GET', '/api/v1/app-connections')).status).toBe(401);
    }
    // Counted refusals are recorded when their window ends.
    vi.setSystemTime(Date.now() + 61_000);
    const recorded = await until('all attempts are recorded', async () => {
      const events = await oidc.server
        .asOwner()
        .find(AuditEvent, { orgId: unattributedOrgId }, { orderBy: { seq: 'asc' }, offset: eventsBefore });
      const total = events.reduce((sum, { count }) => sum + (count ?? 1), 0);
      return total === tokens.length ? events : undefined;
    });
    for (const event of recorded) {
      expect(event).toMatchObject({
        ...{ action: 'SIGN_IN', outcome: 'UNAUTHENTICATED', address: '127.0.0.1' },
        ...{ subject: null, keyId: null, targetName: null, fields: [] },
      });
    }
    expect(await listEvents(client)).toEqual([]);
    await otherProvider.stop();
  });
});
