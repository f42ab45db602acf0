import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../src/config/read-config.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const proxies = '127.0.0.1, 10.0.0.0/8, fd00::/8';
let direct: TestServer;
let behind: TestServer;
beforeAll(async () => {
  direct = await startTestServer();
  const { trustedProxies } = readConfig({ TRUSTED_PROXIES: proxies });
  behind = await startTestServer({ config: { trustedProxies } });
});
afterAll(async () => {
  await direct.close();
  await behind.close();
});

/** The address that the log has of a request with this header. */
async function loggedOf(server: TestServer, forwardedFor?: string): Promise<unknown> {
  const headers = new Headers(forwardedFor === undefined ? [] : [['x-forwarded-for', forwardedFor]]);
  const response = await fetch(`${server.url}/health/live`, { headers });
  const id = `${response.headers.get('x-request-id')}`;
  const line = () =>
    server
      .logs()
      .split('\n')
      .find((each) => each.includes(id) && each.includes('"request"'));
  await expect.poll(line).toBeDefined();
  return JSON.parse(line() ?? '').address;
}

/** The address that the audit trail has of a change with this header. */
async function auditedOf(server: TestServer, forwardedFor: string): Promise<unknown> {
  const { apiKey, orgId } = await server.newOrganisation();
  const headers = {
    authorization: `Bearer ${apiKey}`,
    'content-type': 'application/json',
    'x-forwarded-for': forwardedFor,
  };
  const body = JSON.stringify({ query: createMutation, variables: okta() });
  await fetch(server.graphqlUrl, { method: 'POST', headers, body });
  return server.asOwner().execute('select address from audit_event where org_id = ?', [orgId]);
}

test('whoever is no trusted proxy is where it is, whatever it says', async () => {
  expect(await loggedOf(direct, '203.0.113.1')).toBe('127.0.0.1');
  expect(await auditedOf(direct, '203.0.113.1')).toEqual([{ address: '127.0.0.1' }]);
});

describe('behind a trusted proxy, a caller is where the proxy says', () => {
  test('in the audit trail', async () => {
    expect(await auditedOf(behind, '203.0.113.1')).toEqual([{ address: '203.0.113.1' }]);
  });

  test.each([
    ['nothing else is said', undefined, '127.0.0.1'],
    ['there is one', '203.0.113.1', '203.0.113.1'],
    ['the caller has added to it', '198.51.100.7, 10.0.0.5, 203.0.113.1', '203.0.113.1'],
    ['there are several', '198.51.100.7, 203.0.113.1, 10.0.0.5, 10.0.0.6', '203.0.113.1'],
    ['they are IPv6', '2001:DB8::1, fd00::1', '2001:db8::1'],
    ['it adds the port', '203.0.113.1:4711', '203.0.113.1'],
    ['it adds the port to IPv6', '[2001:db8::1]:4711', '2001:db8::1'],
    ['it writes IPv4 as IPv6', '::ffff:203.0.113.1', '203.0.113.1'],
    ['the caller is one of them', '10.0.0.7', '10.0.0.7'],
    ['it says what is no address', '203.0.113.1, unknown', '127.0.0.1'],
    ['it says nothing', '', '127.0.0.1'],
    ['the caller has added what is no address', '<script>, 203.0.113.1', '203.0.113.1'],
  ])('in the log, when %s', async (_, forwardedFor, address) => {
    expect(await loggedOf(behind, forwardedFor)).toBe(address);
  });
});

test('TRUSTED_PROXIES is addresses and networks, and says so otherwise', () => {
  expect(readConfig({}).trustedProxies).toEqual([]);
  expect(readConfig({ TRUSTED_PROXIES: proxies }).trustedProxies).toHaveLength(3);
  for (const wrong of ['loopback', '10.0.0.0/33', '10.0.0.1,proxy.example', '2']) {
    expect(() => readConfig({ TRUSTED_PROXIES: wrong })).toThrow(
      /^TRUSTED_PROXIES must be addresses or networks/,
    );
  }
});
