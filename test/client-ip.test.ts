import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

/** The client IP in the log of a request with this header. */
async function loggedAddress(server: TestServer, forwardedFor?: string): Promise<unknown> {
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

/** The client IP in the audit event of a create with this header. */
async function auditedAddress(server: TestServer, forwardedFor: string): Promise<unknown> {
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

describe('client IP without a trusted proxy', () => {
  it('is that of the peer, regardless of X-Forwarded-For', async () => {
    expect(await loggedAddress(direct, '203.0.113.1')).toBe('127.0.0.1');
    expect(await auditedAddress(direct, '203.0.113.1')).toEqual([{ address: '127.0.0.1' }]);
  });
});

describe('client IP behind a trusted proxy', () => {
  it('is recorded in the audit trail', async () => {
    expect(await auditedAddress(behind, '203.0.113.1')).toEqual([{ address: '203.0.113.1' }]);
  });

  it.each([
    ['the header is absent', undefined, '127.0.0.1'],
    ['the header has one address', '203.0.113.1', '203.0.113.1'],
    ['the client prepends addresses', '198.51.100.7, 10.0.0.5, 203.0.113.1', '203.0.113.1'],
    ['several proxies are trusted', '198.51.100.7, 203.0.113.1, 10.0.0.5, 10.0.0.6', '203.0.113.1'],
    ['the addresses are IPv6', '2001:DB8::1, fd00::1', '2001:db8::1'],
    ['the proxy adds the port', '203.0.113.1:4711', '203.0.113.1'],
    ['the proxy adds the port to IPv6', '[2001:db8::1]:4711', '2001:db8::1'],
    ['the proxy writes IPv4-mapped IPv6', '::ffff:203.0.113.1', '203.0.113.1'],
    ['the client is itself a trusted address', '10.0.0.7', '10.0.0.7'],
    ['the proxy adds a value that is no address', '203.0.113.1, unknown', '127.0.0.1'],
    ['the header is empty', '', '127.0.0.1'],
    ['the client prepends a value that is no address', '<script>, 203.0.113.1', '203.0.113.1'],
  ])('is written to the log when %s', async (_, forwardedFor, address) => {
    expect(await loggedAddress(behind, forwardedFor)).toBe(address);
  });
});

describe('TRUSTED_PROXIES', () => {
  it('accepts addresses and networks and rejects other values', () => {
    expect(readConfig({}).trustedProxies).toEqual([]);
    expect(readConfig({ TRUSTED_PROXIES: proxies }).trustedProxies).toHaveLength(3);
    for (const wrong of ['loopback', '10.0.0.0/33', '10.0.0.1,proxy.example', '2']) {
      expect(() => readConfig({ TRUSTED_PROXIES: wrong })).toThrow(
        /^TRUSTED_PROXIES must be addresses or networks/,
      );
    }
  });
});
