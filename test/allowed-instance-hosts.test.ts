import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { readConfig } from '../src/config/read-config.ts';
import type { Lookup } from '../src/outbound/dns.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { at, createConnectionOverRest, type RestClient, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createUrlEntryPoints, parseFailure } from './testkit/url-entry-points.ts';

// The fake Okta's host is not among them.
const allowedInstanceHosts = ['oktapreview.com', 'login.acme.example', 'localhost'];
const apiToken = '00planted-planted-planted';

const trusted = new Set<string>();
const lookups: string[] = [];
/** How host names are resolved; tests set theirs. */
let resolve: Lookup;
const noSuchHost: Lookup = () =>
  Promise.reject(Object.assign(new Error('no such host'), { code: 'ENOTFOUND' }));
let upstream: TestOkta;
let server: TestServer;
let rest: RestClient;
let ways: ReturnType<typeof createUrlEntryPoints>;
let stored: { id: string };
beforeAll(async () => {
  upstream = await startOkta();
  trusted.add(upstream.hostPort);
  server = await startTestServer({
    config: { allowedInstanceHosts, trustedInstanceHosts: trusted },
    outbound: {
      lookup: async (name) => {
        lookups.push(name);
        return resolve(name);
      },
    },
  });
});
beforeEach(async () => {
  rest = restClient(server.url, (await server.newOrganisation()).apiKey);
  stored = await createConnectionOverRest(rest, { name: 'stored' });
  ways = createUrlEntryPoints(rest, stored.id, apiToken);
  lookups.length = 0;
  resolve = noSuchHost;
});
afterAll(async () => {
  await server.close();
  await upstream.close();
});

describe('connection with ALLOWED_INSTANCE_HOSTS', () => {
  test.each([
    'https://acme.oktapreview.com',
    'https://oktapreview.com',
    'https://a.b.oktapreview.com:8443',
    'https://ACME.OktaPreview.COM.',
    'https://login.acme.example',
  ])('allows %s', async (instanceUrl) => {
    const answer = await ways.validateOktaCredentials(instanceUrl);
    expect(parseFailure(answer).code).toBe('UPSTREAM_UNREACHABLE');
    expect(lookups).toEqual([new URL(instanceUrl).hostname.replace(/\.$/, '')]);
  });

  test.each([
    'https://eviloktapreview.com',
    'https://acme.okta.com',
    'https://oktapreview.com.evil.example',
    'https://oktapreview.comx',
    'https://oktapreviewxcom',
    'https://com',
    'https://acme.example',
    'https://xlogin.acme.example',
    'https://оktapreview.com',
    'https://8.8.8.8',
    'https://[2606:4700::1111]',
  ])('rejects %s before a DNS lookup, with the field and the remedy', async (instanceUrl) => {
    const { hostname } = new URL(instanceUrl);
    for (const [name, send] of Object.entries(ways)) {
      const answer = await send(instanceUrl);
      expect(parseFailure(answer), name).toMatchObject({
        code: 'HOST_NOT_ALLOWED',
        message: expect.stringContaining('not in the list of allowed hosts'),
        remedy: expect.stringContaining('ALLOWED_INSTANCE_HOSTS'),
        fields: ['credentials.instanceUrl'],
      });
      // The list may contain hosts of other organisations, and the rejected host may be a pasted secret.
      for (const unsaid of [hostname, ...allowedInstanceHosts, apiToken]) {
        expect(answer.text).not.toContain(unsaid);
      }
    }
    expect(lookups).toEqual([]);
  });

  test('rejects a listed host that resolves to a loopback or private address', async () => {
    resolve = async () => [{ address: '10.0.0.1', family: 4 }];
    for (const instanceUrl of ['https://acme.oktapreview.com', 'https://localhost']) {
      expect(parseFailure(await ways['POST to REST'](instanceUrl))).toMatchObject({
        code: 'HOST_NOT_ALLOWED',
        remedy: expect.stringContaining('TRUSTED_INSTANCE_HOSTS'),
        fields: ['credentials.instanceUrl'],
      });
    }
  });

  test('allows trusted hosts and the fake Okta without an entry in the list', async () => {
    for (const instanceUrl of [upstream.origin, 'https://example.okta.com']) {
      expect((await ways['PATCH to REST'](instanceUrl)).status).toBe(200);
    }
  });

  test('rejects an update to a host that is not listed before it compares Okta organisations', async () => {
    await ways['PATCH to REST'](upstream.origin);
    const requestsBefore = upstream.requests.length;
    const moved = await rest('PATCH', `/api/v1/app-connections/okta/${stored.id}`, {
      credentials: { instanceUrl: 'https://eviloktapreview.com', apiToken },
    });
    expect(parseFailure(moved)).toMatchObject({
      code: 'HOST_NOT_ALLOWED',
      fields: ['credentials.instanceUrl'],
    });
    expect(upstream.requests).toHaveLength(requestsBefore);
  });

  test('records an audit event when a host is rejected', async () => {
    await ways.createOktaConnection('https://eviloktapreview.com');
    const { text } = await rest('POST', '/graphql', {
      query: '{ auditEvents(first: 1) { nodes { action outcome } } }',
    });
    expect(at(JSON.parse(text), 'data', 'auditEvents', 'nodes')).toEqual([
      { action: 'CREATE_CONNECTION', outcome: 'HOST_NOT_ALLOWED' },
    ]);
  });
});

test('reads a stored connection to a host that is no longer allowed, and sends it no requests', async () => {
  await ways['PATCH to REST'](upstream.origin);
  trusted.delete(upstream.hostPort);
  onTestFinished(() => void trusted.add(upstream.hostPort));
  const requestsBefore = upstream.requests.length;

  const query = gql`
    mutation ($id: UUID!) {
      verifyAppConnection(id: $id) { appConnection { verification { status code remedy } } }
    }
  `;
  const { text } = await rest('POST', '/graphql', { query, variables: { id: stored.id } });
  expect(at(JSON.parse(text), 'data', 'verifyAppConnection', 'appConnection', 'verification')).toEqual({
    status: 'REJECTED',
    code: 'HOST_NOT_ALLOWED',
    remedy: expect.stringContaining('ALLOWED_INSTANCE_HOSTS'),
  });
  const path = `/api/v1/app-connections/okta/${stored.id}`;
  expect(parseFailure(await rest('PATCH', path, { credentials: { apiToken: 'another' } }))).toMatchObject({
    code: 'HOST_NOT_ALLOWED',
    fields: ['credentials.instanceUrl'],
  });
  expect(at((await rest('GET', path)).body, 'appConnection', 'credentials')).toEqual({
    instanceUrl: upstream.origin,
  });
  expect(upstream.requests).toHaveLength(requestsBefore);
});

describe('ALLOWED_INSTANCE_HOSTS setting', () => {
  test.each([
    ['okta.com', ['okta.com']],
    [
      ' OKTA.com, oktapreview.com ,b\u00fccher.example',
      ['okta.com', 'oktapreview.com', 'xn--bcher-kva.example'],
    ],
    ['com', ['com']],
    ['', undefined],
  ])('accepts %j', (text, hosts) => {
    expect(readConfig({ ALLOWED_INSTANCE_HOSTS: text }).allowedInstanceHosts).toEqual(hosts);
  });

  // An empty list would allow every host, which is the opposite of what it suggests.
  test.each([
    ...[
      ',',
      'okta.com,',
      '*.okta.com',
      '.okta.com',
      'okta.com.',
      'https://okta.com',
      'okta.com:443',
      'a b.com',
    ],
    ...['10.0.0.1', '0.0.1', '1', '0x7f.1', '[::1]', 'a..b', 'me@okta.com', 'planted!.com'],
  ])('rejects %j without echoing it', (text) => {
    const read = () => readConfig({ ALLOWED_INSTANCE_HOSTS: text });
    expect(read).toThrow(
      /^ALLOWED_INSTANCE_HOSTS must be host names without https:\/\/, port or \*, such as okta\.com,oktapreview\.com$/,
    );
  });
});
