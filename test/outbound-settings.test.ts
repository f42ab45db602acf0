import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { StartupError } from '../src/common/errors.ts';
import { readConfig } from '../src/config/read-config.ts';
import { type Certificates, makeCertificates, trust } from './testkit/certificates.ts';
import { dataFolder } from './testkit/database.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { spawnServer, temporaryFolder } from './testkit/process.ts';
import { refusing, startProxy, type TestProxy, tunnelTo } from './testkit/proxy.ts';
import { at, oktaBody, restClient } from './testkit/rest.ts';
import { startTestServer } from './testkit/server.ts';
import { createUrlEntryPoints, parseFailure } from './testkit/url-entry-points.ts';

// Some tests start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const password = 'planted-planted-planted';
const unassigned = { address: '3000::1', family: 6 } as const;

let certificates: Certificates;
/** A fake Okta with a certificate for acme.okta.test and 3000::1, to which the proxy connects. */
let elsewhere: TestOkta;
let proxy: TestProxy;
/** A proxy for the conventional variables such as HTTPS_PROXY, which the server ignores. */
let decoy: TestProxy;
beforeAll(async () => {
  certificates = await makeCertificates();
  elsewhere = await startOkta({ tls: certificates.elsewhere });
  proxy = await startProxy(tunnelTo(elsewhere.port));
  decoy = await startProxy(tunnelTo(elsewhere.port));
});
afterAll(async () => {
  await Promise.all([proxy[Symbol.asyncDispose](), decoy[Symbol.asyncDispose](), elsewhere.close()]);
});

describe('OUTBOUND_PROXY', () => {
  test.each([
    ['http://proxy.test:3128', { host: 'proxy.test', port: 3128 }],
    ['http://PROXY.test:80/', { host: 'proxy.test', port: 80 }],
    ['http://[fd00::1]:8080', { host: 'fd00::1', port: 8080 }],
    ['', undefined],
  ])('accepts %j', (text, outboundProxy) => {
    expect(readConfig({ OUTBOUND_PROXY: text }).outboundProxy).toEqual(outboundProxy);
  });

  test('accepts a password and does not print it', () => {
    const { outboundProxy } = readConfig({ OUTBOUND_PROXY: `http://us%40er:${password}%2F@proxy.test:3128` });
    const basic = Buffer.from(`us@er:${password}/`).toString('base64');
    expect(outboundProxy?.authorization?.reveal()).toBe(`Basic ${basic}`);
    expect(JSON.stringify(outboundProxy)).toBe(
      '{"host":"proxy.test","port":3128,"authorization":"[secret]"}',
    );
  });

  test.each([
    ...[
      'planted.test',
      'planted.test:3128',
      'http://planted.test',
      'http://planted.test:0',
      'http://planted:65536',
    ],
    ...[
      'https://planted.test:443',
      'socks5://planted.test:1080',
      'http://planted.test:80/path',
      'http://:3128',
    ],
    ...[
      'http://planted.test:80?q',
      'http://planted.test:80#f',
      'http://planted@planted.test',
      'http://pla nted:80',
    ],
    ...['http://planted:%zz@planted.test:80', 'http://plan%3Ated:planted@planted.test:80'],
  ])('rejects %j without echoing it', (text) => {
    expect(() => readConfig({ OUTBOUND_PROXY: text })).toThrow(
      /^OUTBOUND_PROXY must be http:\/\/host:port or http:\/\/user:password@host:port, with %-encoding in user and password$/,
    );
  });
});

describe('OUTBOUND_PROXY_RESOLVES', () => {
  const allowed = { ALLOWED_INSTANCE_HOSTS: 'okta.test' };
  const behind = { OUTBOUND_PROXY: 'http://proxy.test:3128' };

  test('is off by default', () => {
    expect(readConfig({ ...behind, ...allowed }).outboundProxyResolves).toBe(false);
    expect(readConfig({ OUTBOUND_PROXY_RESOLVES: 'off' }).outboundProxyResolves).toBe(false);
    const on = { ...behind, ...allowed, OUTBOUND_PROXY_RESOLVES: 'on' };
    expect(readConfig(on).outboundProxyResolves).toBe(true);
  });

  test.each([
    [{ ...behind }, 'OUTBOUND_PROXY_RESOLVES=on needs ALLOWED_INSTANCE_HOSTS'],
    [{ ...behind, ALLOWED_INSTANCE_HOSTS: '' }, 'OUTBOUND_PROXY_RESOLVES=on needs ALLOWED_INSTANCE_HOSTS'],
    [{ ...allowed }, 'OUTBOUND_PROXY_RESOLVES=on needs OUTBOUND_PROXY'],
    [{}, 'OUTBOUND_PROXY_RESOLVES=on needs OUTBOUND_PROXY and ALLOWED_INSTANCE_HOSTS'],
  ])('requires a proxy and a list of hosts: %j does not start', (variables, message) => {
    const on = { ...variables, OUTBOUND_PROXY_RESOLVES: 'on' };
    expect(() => readConfig(on)).toThrow(new StartupError(message));
  });

  test('disables DNS lookups and enforces the list', async () => {
    using _ = trust(certificates.ca);
    const server = await startTestServer({
      config: {
        outboundProxy: { host: proxy.host, port: proxy.port },
        outboundProxyResolves: true,
        allowedInstanceHosts: ['okta.test'],
      },
      outbound: { lookup: () => Promise.reject(new Error('unexpected DNS lookup')) },
    });
    const rest = restClient(server.url, (await server.newOrganisation()).apiKey);
    const created = await rest(
      'POST',
      '/api/v1/app-connections/okta',
      oktaBody({}, { instanceUrl: 'https://acme.okta.test' }),
    );
    expect(created.status).toBe(200);
    expect(proxy.asked.at(-1)?.target).toBe('acme.okta.test:443');
    const requestsBefore = proxy.asked.length;
    for (const instanceUrl of ['https://evil.test', 'https://8.8.8.8', 'https://[64:ff9b::7f00:1]']) {
      const refused = await rest(
        'POST',
        '/api/v1/app-connections/okta',
        oktaBody({ name: 'refused' }, { instanceUrl }),
      );
      expect(parseFailure(refused).code).toBe('HOST_NOT_ALLOWED');
    }
    expect(proxy.asked).toHaveLength(requestsBefore);
    await server.close();
  });
});

describe('server with OUTBOUND_PROXY', () => {
  test('connects to Okta through it, and reports failures of the proxy without its password', async () => {
    using _ = trust(certificates.ca);
    const { outboundProxy } = readConfig({
      OUTBOUND_PROXY: `http://someone:${password}@127.0.0.1:${proxy.port}`,
    });
    const server = await startTestServer({
      config: { outboundProxy },
      outbound: { lookup: async () => [unassigned] },
    });
    const rest = restClient(server.url, (await server.newOrganisation()).apiKey);
    const body = oktaBody({}, { instanceUrl: 'https://acme.okta.test' });
    const created = await rest('POST', '/api/v1/app-connections/okta', body);
    expect(created.status).toBe(200);
    expect(proxy.asked.at(-1)?.target).toBe('[3000::1]:443');

    proxy.behave(refusing(407));
    const id = `${at(created.body, 'appConnection', 'id')}`;
    const refused = await createUrlEntryPoints(rest, id, 'any')['PATCH to REST']('https://other.okta.test');
    proxy.behave(tunnelTo(elsewhere.port));
    expect(refused.status).toBe(503);
    expect(parseFailure(refused)).toMatchObject({
      code: 'UPSTREAM_UNREACHABLE',
      message:
        'Okta could not be reached: the outbound proxy rejected the user name or password (status 407). ' +
        'The API token was not verified.',
      remedy: expect.stringContaining('OUTBOUND_PROXY'),
    });
    const secret = outboundProxy?.authorization?.reveal().replace('Basic ', '') ?? '';
    for (const text of [refused.text, server.logs(), await server.dump()]) {
      expect(text).not.toContain(password);
      expect(text).not.toContain(secret);
      expect(text).not.toContain('proxy-planted');
    }
    await server.close();
  });

  test('connects to the identity provider through it, independent of allowed instance hosts', async () => {
    using _ = trust(certificates.ca);
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const issuer = 'https://[3000::1]';
    await using provider = await startOkta({
      tls: certificates.elsewhere,
      handler: (request, response) => {
        const answers: Record<string, Promise<object> | object> = {
          '/.well-known/openid-configuration': { issuer, jwks_uri: `${issuer}/keys` },
          '/keys': exportJWK(publicKey).then((key) => ({ keys: [{ ...key, kid: 'one', alg: 'ES256' }] })),
        };
        Promise.resolve(answers[request.url ?? '']).then((answer) => response.end(JSON.stringify(answer)));
      },
    });
    await using way = await startProxy(tunnelTo(provider.port));
    const server = await startTestServer({
      config: {
        outboundProxy: { host: way.host, port: way.port },
        allowedInstanceHosts: ['okta.com'],
        oidc: { issuer, audience: 'us', orgClaim: 'org', scopeClaim: 'scope', projectsClaim: 'projects' },
      },
    });
    const { orgId } = await server.newOrganisation();
    const token = await new SignJWT({ org: orgId, scope: 'connections:read' })
      .setProtectedHeader({ alg: 'ES256', kid: 'one' })
      .setIssuer(issuer)
      .setAudience('us')
      .setSubject('ada')
      .setExpirationTime('5m')
      .sign(privateKey);
    expect((await restClient(server.url, token)('GET', '/api/v1/app-connections')).status).toBe(200);
    expect(new Set(way.asked.map(({ target }) => target))).toEqual(new Set(['[3000::1]:443']));
    expect(provider.requests.map(({ path }) => path)).toContain('/keys');
    await server.close();
  });
});

describe('server in a process of its own', () => {
  const apiKey = 'planted-key-planted-key-planted-key';
  /** Variables with which other programs use proxies or disable certificate checks. */
  const misleading = () => {
    const url = `http://127.0.0.1:${decoy.port}`;
    return {
      ...{ HTTP_PROXY: url, HTTPS_PROXY: url, ALL_PROXY: url, NODE_USE_ENV_PROXY: '1' },
      ...{ http_proxy: url, https_proxy: url, all_proxy: url, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
    };
  };

  async function create(url: string, instanceUrl: string) {
    const name = `at-${instanceUrl.replace(/[^a-z0-9]+/g, '-')}`.replace(/-$/, '');
    const rest = restClient(url, apiKey);
    const answer = await rest('POST', '/api/v1/app-connections/okta', oktaBody({ name }, { instanceUrl }));
    return { status: answer.status, ...parseFailure(answer) };
  }

  test('connects only through OUTBOUND_PROXY and trusts the authorities of NODE_EXTRA_CA_CERTS', async () => {
    using folder = temporaryFolder();
    using data = dataFolder();
    const authority = join(folder.path, 'authority.pem');
    writeFileSync(authority, certificates.ca.cert);
    await using inside = await startOkta({ tls: certificates.good });
    await using server = spawnServer({
      ...misleading(),
      DATA_DIR: data.path,
      BOOTSTRAP_API_KEY: apiKey,
      NODE_EXTRA_CA_CERTS: authority,
      OUTBOUND_PROXY: `http://someone:${password}@127.0.0.1:${proxy.port}`,
      TRUSTED_INSTANCE_HOSTS: inside.hostPort,
    });
    const url = await server.ready();
    const before = proxy.asked.length;
    expect(await create(url, 'https://[3000::1]:8443')).toHaveProperty('status', 200);
    const asked = proxy.asked.slice(before);
    // A verification has requests at the same time.
    expect(asked.length).toBeGreaterThan(0);
    for (const each of asked) {
      expect(each).toMatchObject({
        target: '[3000::1]:8443',
        headers: {
          'proxy-authorization': `Basic ${Buffer.from(`someone:${password}`).toString('base64')}`,
        },
      });
    }
    expect(await create(url, inside.origin)).toHaveProperty('status', 200);
    expect(proxy.asked).toHaveLength(before + asked.length);
    expect(decoy.connections()).toBe(0);
    expect(server.stdout() + server.stderr()).not.toContain(password);
  });

  test('connects directly and trusts no other authority without these variables, regardless of other variables', async () => {
    using data = dataFolder();
    await using inside = await startOkta({ tls: certificates.good });
    await using server = spawnServer({
      ...misleading(),
      DATA_DIR: data.path,
      BOOTSTRAP_API_KEY: apiKey,
      TRUSTED_INSTANCE_HOSTS: inside.hostPort,
    });
    const url = await server.ready();
    expect(await create(url, inside.origin)).toMatchObject({
      code: 'UPSTREAM_UNREACHABLE',
      message: expect.stringContaining('not signed by an authority that this server trusts'),
    });
    expect(inside.requests).toEqual([]);
    expect(await create(url, 'https://[3000::1]')).toHaveProperty('code', 'UPSTREAM_UNREACHABLE');
    expect(decoy.connections()).toBe(0);
  });
});
