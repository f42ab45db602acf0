import { createHook } from 'node:async_hooks';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bufferedLimits } from '../src/outbound/bulkhead.ts';
import { withSystemLookup } from '../src/outbound/dns.ts';
import { createDnsLookup } from '../src/outbound/dns-lookup.ts';
import { startDns, type TestDns, type Zone } from './testkit/dns-server.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { temporaryFolder, until } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createUrlEntryPoints, parseFailure } from './testkit/url-entry-points.ts';

/** The minimum time for which c-ares queries a silent name server, in milliseconds. */
const shortestLookupMs = 3_000;

/** Counts look-ups through the operating system, each of which takes one of libuv's few threads. */
function countSystemLookups() {
  let count = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === 'GETADDRINFOREQWRAP') count += 1;
    },
  }).enable();
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: () => void hook.disable(),
  };
}

const zone: Zone = (name) => {
  if (name.startsWith('silent')) return 'silent';
  if (name.startsWith('broken')) return 'broken';
  if (name === 'both.test') return { A: ['192.0.2.1', '192.0.2.2'], AAAA: ['2001:db8::1'] };
  if (name === 'four.test') return { A: ['192.0.2.1'], AAAA: [] };
  if (name === 'six.test') return { A: [], AAAA: ['2001:db8::1'] };
  if (name === 'none.test') return { A: [], AAAA: [] };
  if (name === 'half-silent.test') return { A: ['192.0.2.1'] };
  if (name === 'okta.test') return { A: ['127.0.0.1'], AAAA: [] };
  return 'unknown';
};

let dns: TestDns;
let folder: ReturnType<typeof temporaryFolder>;
beforeAll(async () => {
  dns = await startDns(zone);
  folder = temporaryFolder();
});
afterAll(async () => {
  await dns.close();
  folder[Symbol.dispose]();
});

const four = (address: string) => ({ address, family: 4 });
const six = (address: string) => ({ address, family: 6 });

describe('DNS lookup of a name', () => {
  const lookUp = (name: string) => createDnsLookup({ servers: [dns.server], hostsFile: '/nowhere' })(name);

  test.each([
    ['both.test', [four('192.0.2.1'), four('192.0.2.2'), six('2001:db8::1')]],
    ['BOTH.test.', [four('192.0.2.1'), four('192.0.2.2'), six('2001:db8::1')]],
    ['four.test', [four('192.0.2.1')]],
    ['six.test', [six('2001:db8::1')]],
    ['half-silent.test', [four('192.0.2.1')]],
    ['localhost', [four('127.0.0.1'), six('::1')]],
    ['okta.localhost', [four('127.0.0.1'), six('::1')]],
  ])("resolves %s without the operating system's threads", async (name, addresses) => {
    using system = countSystemLookups();
    expect(await lookUp(name)).toEqual(addresses);
    expect(system.count).toBe(0);
  });

  test.each([
    ['unknown.test', /^ENOTFOUND$/],
    ['none.test', /^ENODATA$/],
    ['broken.test', /^ESERVFAIL$/],
    ['silent.test', /^(ETIMEOUT|ECANCELLED)$/],
    [`${'x'.repeat(64)}.test`, /^EBADNAME$/],
  ])('reports %s as not found', async (name, code) => {
    await expect(lookUp(name)).rejects.toHaveProperty('code', expect.stringMatching(code));
  });

  test('is sent once for concurrent requests', async () => {
    const before = dns.queries.length;
    const lookup = createDnsLookup({ servers: [dns.server], hostsFile: '/nowhere' });
    await Promise.all(Array.from({ length: 20 }, () => lookup('both.test')));
    expect(dns.queries.slice(before).sort()).toEqual(['A both.test', 'AAAA both.test']);
  });

  test("uses the operating system's resolver when configured", async () => {
    using system = countSystemLookups();
    const lookup = withSystemLookup(async (name) => {
      throw Object.assign(new Error(name), { code: name.startsWith('silent') ? 'ETIMEOUT' : 'ENOTFOUND' });
    });
    expect(await lookup('localhost')).toContainEqual(four('127.0.0.1'));
    expect(system.count).toBe(1);
    await expect(lookup('silent.test')).rejects.toHaveProperty('code', 'ETIMEOUT');
    expect(system.count).toBe(1);
  });
});

describe('hosts file', () => {
  const path = () => join(folder.path, 'hosts');
  const write = (...lines: string[]) => writeFileSync(path(), lines.join('\n'));

  test('takes precedence over DNS with all addresses of a name, and is reloaded when it changes', async () => {
    write(
      '# 192.0.2.9 both.test',
      '192.0.2.7\tacme.okta.test  Alias.okta.test # here',
      '::1 acme.okta.test',
      'fe80::1%lo acme.okta.test',
      'not-an-address acme.okta.test both.test',
      '192.0.2.8 __proto__ constructor',
    );
    const lookup = createDnsLookup({ servers: [dns.server], hostsFile: path() });
    const before = dns.queries.length;
    expect(await lookup('acme.okta.test')).toEqual([four('192.0.2.7'), six('::1'), six('fe80::1%lo')]);
    expect(await lookup('ALIAS.okta.test.')).toEqual([four('192.0.2.7')]);
    expect(await lookup('constructor')).toEqual([four('192.0.2.8')]);
    expect(dns.queries.length).toBe(before);
    expect(await lookup('both.test')).toHaveLength(3);

    write('192.0.2.77 acme.okta.test', '192.0.2.78 both.test', '');
    expect(await lookup('acme.okta.test')).toEqual([four('192.0.2.77')]);
    expect(await lookup('both.test')).toEqual([four('192.0.2.78')]);
    await expect(lookup('alias.okta.test')).rejects.toHaveProperty('code', 'ENOTFOUND');
  });
});

describe('DNS lookups of one organisation while name servers are silent', () => {
  let upstream: TestOkta;
  let server: TestServer;
  beforeAll(async () => {
    upstream = await startOkta();
    server = await startTestServer({
      config: { trustedInstanceHosts: new Set([`okta.test:${upstream.port}`]) },
      outbound: { lookup: createDnsLookup({ servers: [dns.server], hostsFile: '/nowhere' }) },
    });
  });
  afterAll(async () => {
    await server.close();
    await upstream.close();
  });
  const requestsOfKey = (apiKey: string) =>
    createUrlEntryPoints(restClient(server.url, apiKey), 'any', '00planted-planted-planted');

  test('are limited, do not delay those of others, and block no thread of the process', async () => {
    using system = countSystemLookups();
    const { apiKey, newKey } = await server.newOrganisation();
    const other = await server.newOrganisation();
    const keys = [apiKey, await newKey(['connections:verify']), await newKey(['connections:verify'])];
    const attackers = keys.map(requestsOfKey);
    const neighbour = requestsOfKey(other.apiKey);
    const before = dns.queries.length;
    const requests = () =>
      new Set(dns.queries.slice(before).filter((query) => query.startsWith('A silent'))).size;
    const start = performance.now();
    // On a slow machine, requests can arrive when the first lookups have already ended.
    const limit = () =>
      bufferedLimits.perOrganisation * Math.ceil((performance.now() - start) / shortestLookupMs);
    const hanging = attackers.flatMap((ways, caller) =>
      Array.from({ length: 60 }, (_, index) =>
        ways.validateOktaCredentials(`https://silent-${caller}-${index}.test`),
      ),
    );
    await until(
      'the maximum number of names is being looked up',
      () => requests() >= bufferedLimits.perOrganisation || undefined,
    );
    expect(requests()).toBeLessThanOrEqual(limit());
    expect((await neighbour.validateOktaCredentials(`http://okta.test:${upstream.port}`)).text).toBe(
      '{"data":{"answer":{"code":null,"message":null,"remedy":null}}}',
    );
    const failures = (await Promise.all(hanging)).map(parseFailure);
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(['UPSTREAM_UNREACHABLE']));
    const busy = failures.filter(({ message }) => message.startsWith('No request was sent to Okta'));
    expect(failures.length - busy.length).toBe(requests());
    expect(bufferedLimits.perCaller).toBeLessThan(60);
    expect(requests()).toBeLessThanOrEqual(limit());
    expect(busy.length).toBeGreaterThan(0);
    expect(failures.find((failure) => !busy.includes(failure))?.message).toBe(
      'Okta could not be reached: the host name could not be resolved. The API token was not verified.',
    );
    expect(system.count).toBe(0);
  });
});
