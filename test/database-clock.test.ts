import { gql } from 'graphql-request';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { freshDatabase, testDatabaseUrl } from './testkit/database.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { startPostgresRelay } from './testkit/postgres-relay.ts';
import { sendGraphQL, startRateLimitedServer } from './testkit/rates.ts';
import { startTestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 60_000 });

const fiveMinutesMs = 300_000;
/** The time that requests of a test take, on a slow machine. */
const toleranceMs = 60_000;

/** Sets the clock of this process, and not that of PostgreSQL. */
function setClockAhead(ms: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
}

afterEach(() => {
  vi.useRealTimers();
});

describe.runIf(testDatabaseUrl)('a server that cannot read the clock of the database', () => {
  it('starts, reports it in the log, and serves requests', async () => {
    await using database = await freshDatabase();
    if (database.location.kind !== 'postgresql') throw new Error('This is about PostgreSQL.');
    await using relay = await startPostgresRelay(database.location.url.reveal(), {
      dropsOn: 'clock_timestamp',
    });
    const server = await startTestServer({ location: { kind: 'postgresql', url: new Secret(relay.url) } });
    try {
      const { client } = await server.newOrganisation();
      expect(await client.request('{ viewer { scopes } }')).toBeDefined();
      expect(server.logs()).toContain('could not read the clock of the database');
    } finally {
      await server.close();
    }
  });
});

// The embedded database has the clock of its process.
describe.runIf(testDatabaseUrl)('a server whose clock is five minutes from that of the database', () => {
  it.each([
    ['fast', fiveMinutesMs],
    ['slow', -fiveMinutesMs],
  ])('stores and returns the times of the database if it is %s', async (_, aheadMs) => {
    const now = Date.now();
    setClockAhead(aheadMs);
    const server = await startTestServer();
    try {
      const { client } = await server.newOrganisation();
      const { createOktaConnection } = await client.request<{
        createOktaConnection: { appConnection: { id: string } };
      }>(createMutation, okta());
      const { id } = createOktaConnection.appConnection;
      await client.request(
        gql`mutation ($id: UUID!) { updateOktaConnection(id: $id, input: { description: "Changed" }) { appConnection { id } } }`,
        { id },
      );
      const { appConnection, auditEvents } = await client.request<{
        appConnection: { createdAt: string; updatedAt: string; verification: { lastVerifiedAt: string } };
        auditEvents: { nodes: { at: string }[] };
      }>(
        gql`query ($id: UUID!) {
          appConnection(id: $id) { createdAt updatedAt verification { lastVerifiedAt } }
          auditEvents(first: 10) { nodes { at } }
        }`,
        { id },
      );
      const { createdAt, updatedAt, verification } = appConnection;
      const eventTimes = auditEvents.nodes.map(({ at }) => at);
      expect(eventTimes).toHaveLength(2);
      const times = [createdAt, updatedAt, verification.lastVerifiedAt, ...eventTimes];
      for (const time of times) expect(Math.abs(Date.parse(time) - now)).toBeLessThan(toleranceMs);
    } finally {
      await server.close();
    }
  });

  it('accepts an API key until it expires by the clock of the database', async () => {
    const now = Date.now();
    setClockAhead(fiveMinutesMs);
    const server = await startTestServer();
    try {
      const { client } = await server.newOrganisation();
      const createKey = gql`mutation ($expiresAt: DateTime!) {
        createApiKey(input: { name: "Short-lived", scopes: [CONNECTIONS_READ], expiresAt: $expiresAt }) { key }
      }`;
      const expiresAt = new Date(now + fiveMinutesMs / 2).toISOString();
      const { createApiKey } = await client.request<{ createApiKey: { key: string } }>(createKey, {
        expiresAt,
      });
      const limited = server.clientFor(createApiKey.key);
      expect(await limited.request('{ viewer { scopes } }')).toBeDefined();
    } finally {
      await server.close();
    }
  });

  it('tells a rate-limited caller the end of the window by the clock of the database', async () => {
    const now = Date.now();
    setClockAhead(fiveMinutesMs);
    const server = await startRateLimitedServer({ caller: { points: 2, leaseSize: 1 } });
    try {
      const { apiKey } = await server.newOrganisation();
      const responses = [];
      for (let count = 0; count < 3; count += 1) responses.push(await sendGraphQL(server, { apiKey }));
      const { code, retryAt, retryAfter } = responses.at(-1) ?? {};
      expect(code).toBe('RATE_LIMITED');
      expect(Math.abs(Date.parse(retryAt ?? '') - now)).toBeLessThan(60_000 + toleranceMs);
      expect(Number(retryAfter)).toBeLessThanOrEqual(60);
    } finally {
      await server.close();
    }
  });
});
