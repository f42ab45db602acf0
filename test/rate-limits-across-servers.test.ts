import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { defaultRates } from '../src/rate-limits/defaults.ts';
import { RateLimit } from '../src/rate-limits/rate-limit.entity.ts';
import { purgeExpiredWindows } from '../src/rate-limits/rate-limits.ts';
import { administer, testDatabaseUrl } from './testkit/database.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { collectCodes, sendGraphQL, sendRest, startRateLimitedServer } from './testkit/rates.ts';
import type { TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 120_000 });

const limits = {
  caller: { points: 40, leaseSize: 10 },
  unauthenticated: { points: 12, leaseSize: 4 },
  failedAuthentication: { points: 5, leaseSize: 1 },
  outbound: { points: 4, leaseSize: 1 },
};

describe.runIf(testDatabaseUrl)('rate limits on PostgreSQL', () => {
  let one: TestServer;
  let other: TestServer;
  beforeAll(async () => {
    one = await startRateLimitedServer(limits);
    other = await startRateLimitedServer(limits, { beside: one });
  });
  afterAll(async () => {
    await other.close();
    await one.close();
  });

  let addresses = 0;
  /** Creates a caller with an address of its own. */
  const newCaller = async () => {
    const { apiKey } = await one.newOrganisation();
    addresses += 1;
    return { apiKey, address: `198.51.100.${addresses}` };
  };
  const serverAt = (index: number) => (index % 2 ? other : one);
  const letThrough = (codes: readonly string[]) => codes.filter((code) => code !== 'RATE_LIMITED').length;

  describe('of two servers', () => {
    test('are shared per caller, except for a block that one server has leased', async () => {
      const caller = await newCaller();
      const codes = await collectCodes(60, (index) => sendGraphQL(serverAt(index), caller));
      expect(letThrough(codes)).toBeLessThanOrEqual(40);
      expect(letThrough(codes)).toBeGreaterThanOrEqual(30);
    });

    test('are not exceeded by concurrent requests', async () => {
      const caller = await newCaller();
      const requests = Array.from({ length: 120 }, (_, index) => sendGraphQL(serverAt(index), caller));
      const codes = (await Promise.all(requests)).map(({ code }) => code ?? 'OK');
      expect(letThrough(codes)).toBeLessThanOrEqual(40);
      expect(letThrough(codes)).toBeGreaterThanOrEqual(30);
    });

    test('are shared per address for unauthenticated requests and for failed authentication', async () => {
      const client = { address: '192.0.2.77' };
      const anonymous = await collectCodes(20, (index) => sendRest(serverAt(index), client));
      expect(letThrough(anonymous)).toBeLessThanOrEqual(12);
      expect(letThrough(anonymous)).toBeGreaterThanOrEqual(8);
      const wrong = { address: '192.0.2.78', apiKey: 'an-unknown-key-an-unknown-key-an-unknown-key' };
      expect(letThrough(await collectCodes(10, (index) => sendRest(serverAt(index), wrong)))).toBe(5);
    });

    test('are shared exactly for credential checks', async () => {
      const caller = await newCaller();
      const createConnection = (index: number) =>
        sendGraphQL(serverAt(index), caller, createMutation, okta({ name: `c-${index}` }));
      expect(await collectCodes(6, createConnection)).toEqual([
        'OK',
        'OK',
        'OK',
        'OK',
        'RATE_LIMITED',
        'RATE_LIMITED',
      ]);
    });

    test('restart on both servers when the window ends', async () => {
      const caller = await newCaller();
      await collectCodes(60, () => sendGraphQL(one, caller));
      expect((await sendGraphQL(one, caller)).code).toBe('RATE_LIMITED');
      // Ends the window in the database, for the server that has not leased from it.
      await one.asOwner().execute('update rate_limit set expire = 0');
      const codes = await collectCodes(60, () => sendGraphQL(other, caller));
      expect(letThrough(codes)).toBe(40);
    });
  });

  test('are leased in blocks, so that a read needs no database statement for them', async () => {
    // A trigger counts every insert statement of all servers.
    for (const statement of [
      'create sequence counted',
      'grant usage on sequence counted to app_connections_system',
      `create function count_statement() returns trigger language plpgsql as
        $$ begin perform nextval('counted'); return null; end $$`,
      'create trigger counting before insert on rate_limit for each statement execute function count_statement()',
    ]) {
      await one.asOwner().execute(statement);
    }
    const counted = async () => {
      const { count } = await one
        .asOwner()
        .execute<{ count: number }>(
          'select (last_value - 1 + is_called::int)::int as count from counted',
          [],
          'get',
        );
      return count;
    };
    const usual = await startRateLimitedServer({ caller: defaultRates.caller }, { beside: one });
    const caller = await newCaller();
    // The first request leases from three limits: those of the key, of its organisation, and of its new address.
    await sendGraphQL(usual, caller);
    const before = await counted();
    expect(before).toBe(3);
    const half = defaultRates.caller.leaseSize / 2;
    await collectCodes(half - 2, () => sendGraphQL(usual, caller));
    expect(await counted()).toBe(before);
    const reads = 300;
    await Promise.all(Array.from({ length: reads }, () => sendGraphQL(usual, caller)));
    await expect.poll(counted).toBeGreaterThan(before);
    const leases = ({ leaseSize }: { leaseSize: number }) => Math.ceil((reads + half) / (leaseSize / 2));
    expect(await counted()).toBeLessThanOrEqual(
      before + leases(defaultRates.caller) + leases(defaultRates.organisation),
    );
    await usual.close();
  });

  test('of expired windows are purged, and no others', async () => {
    const past = { key: 'caller:over', points: 3, expire: Date.now() - 1 };
    const present = { key: 'caller:not-over', points: 3, expire: Date.now() + 600_000 };
    for (const row of [past, present]) await one.asOwner().insert(RateLimit, row);
    // Only one purge runs at a time, and a server that has just started may be running one.
    const left = await until('the expired window is purged', async () => {
      await purgeExpiredWindows(one);
      const rows = await one.asOwner().find(RateLimit, { key: { $in: [past.key, present.key] } });
      return rows.length < 2 ? rows : undefined;
    });
    expect(left.map(({ key }) => key)).toEqual([present.key]);
  });

  test('of expired windows are purged when a server starts', async () => {
    await one.asOwner().insert(RateLimit, { key: 'caller:of-yesterday', points: 3, expire: 1 });
    const next = await startRateLimitedServer({}, { beside: one });
    await until('the expired window is purged', async () => {
      const left = await one.asOwner().count(RateLimit, { key: 'caller:of-yesterday' });
      return left === 0 || undefined;
    });
    await next.close();
  });

  test('are counted by each server alone while the table is locked', async () => {
    const holder = one.asOwner();
    await holder.begin();
    await holder.execute('lock table rate_limit in access exclusive mode');
    const caller = await newCaller();
    const codes = await collectCodes(45, () => sendGraphQL(one, caller));
    await holder.rollback();
    expect(letThrough(codes)).toBe(40);
    expect(one.logs()).toContain('could not query rate limits');
  });
});

describe.runIf(testDatabaseUrl)('rate limits during an outage of PostgreSQL', () => {
  test('are counted by each server alone, and no unknown key is accepted', async () => {
    const server = await startRateLimitedServer(limits, { config: { production: true, graphiql: false } });
    const name = server.databaseName;
    await administer(`alter database ${name} with allow_connections false`);
    await administer(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`);
    const client = { address: '192.0.2.80' };
    const codes = await collectCodes(14, () => sendGraphQL(server, client));
    expect(codes.slice(0, 12)).toEqual(Array.from({ length: 12 }, () => 'UNAUTHENTICATED'));
    expect(codes.slice(12)).toEqual(['RATE_LIMITED', 'RATE_LIMITED']);
    const key = { address: '192.0.2.81', apiKey: 'any-key-will-do-any-key-will-do-any-key' };
    expect(await sendGraphQL(server, key)).toMatchObject({ status: 503, code: 'SERVICE_UNAVAILABLE' });

    await administer(`alter database ${name} with allow_connections true`);
    let addresses = 100;
    const askFromElsewhere = () => {
      addresses += 1;
      return sendGraphQL(server, { ...key, address: `192.0.2.${addresses}` });
    };
    await expect.poll(async () => (await askFromElsewhere()).code, { interval: 200 }).toBe('UNAUTHENTICATED');
    await server.close();
  });
});
