import { isIPv6 } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createOutbound } from '../src/outbound/create-outbound.ts';
import type { Lookup } from '../src/outbound/dns.ts';
import type { OutboundSettings } from '../src/outbound/outbound.ts';
import { OutboundError } from '../src/outbound/outbound-error.ts';
import { parseProxy } from '../src/outbound/proxy.ts';
import { type Certificates, makeCertificates, trust } from './testkit/certificates.ts';
import { countConnectionAttempts } from './testkit/connection-attempts.ts';
import * as okta from './testkit/okta.ts';
import { closedPort } from './testkit/process.ts';
import * as proxies from './testkit/proxy.ts';

let certificates: Certificates;
let trusting: Disposable;
beforeAll(async () => {
  certificates = await makeCertificates();
  trusting = trust(certificates.ca);
});
afterAll(() => trusting[Symbol.dispose]());

async function startOkta(options?: Parameters<typeof okta.startOkta>[0]) {
  const started = await okta.startOkta(options);
  onTestFinished(started.close);
  return started;
}

/** A proxy that connects to a fake Okta on this machine with a certificate for acme.okta.test. */
async function start(handler?: okta.Behaviour) {
  const here = await startOkta({ tls: certificates.elsewhere, handler });
  const proxy = await startProxy(proxies.tunnelTo(here.port));
  return { here, proxy };
}

async function startProxy(behaviour: proxies.ProxyBehaviour) {
  const proxy = await proxies.startProxy(behaviour);
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

const url = new URL('https://acme.okta.test/api/v1/users/me');
const headers = { authorization: 'SSWS planted-token' };

function client(settings: Partial<OutboundSettings>) {
  const outbound = createOutbound({ trustedHosts: new Set(), lookup: leadingTo('3000::1'), ...settings });
  onTestFinished(() => outbound.close());
  return outbound;
}

async function failure(settings: Partial<OutboundSettings>, target = url): Promise<OutboundError> {
  const error: unknown = await client(settings)
    .get(target, { headers })
    .catch((reason: unknown) => reason);
  if (!(error instanceof OutboundError)) throw new Error('it did not fail as it should', { cause: error });
  expect(error.message).not.toContain('planted');
  return error;
}

function leadingTo(...addresses: string[]): Lookup & { calls: number } {
  const lookup = async () => {
    lookup.calls += 1;
    return addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }) as const);
  };
  lookup.calls = 0;
  return lookup;
}

describe('outbound request through a proxy', () => {
  test('resolves the name itself, sends the address to the proxy, and verifies the certificate for the name', async () => {
    const { here, proxy } = await start();
    const lookup = leadingTo('3000::1');
    using attempts = countConnectionAttempts();
    const answer = await client({ proxy, lookup }).get(url, { headers });
    expect(answer.status).toBe(200);
    expect(lookup.calls).toBe(1);
    expect(proxy.asked).toMatchObject([{ target: '[3000::1]:443', headers: { host: '[3000::1]:443' } }]);
    const [request] = here.requests;
    expect(request?.headers).toMatchObject({ host: 'acme.okta.test', authorization: headers.authorization });
    expect(request?.servername).toBe('acme.okta.test');
    // The second is the proxy's own.
    expect(attempts.targets()).toEqual([`127.0.0.1:${proxy.port}`, `127.0.0.1:${here.port}`]);
  });

  test('resolves a name once, so that a changed DNS answer has no effect', async () => {
    const { proxy } = await start();
    const answers = [leadingTo('3000::1'), leadingTo('127.0.0.1')];
    const outbound = client({ proxy, lookup: (name) => (answers.shift() ?? leadingTo('10.0.0.1'))(name) });
    expect((await outbound.get(url, { headers })).status).toBe(200);
    expect(proxy.asked.map(({ target }) => target)).toEqual(['[3000::1]:443']);
    proxy.behave(proxies.refusing(500));
    const other = new URL('https://acme.okta.test:8443/');
    await expect(outbound.get(other, { headers })).rejects.toHaveProperty('reason', 'HOST_NOT_ALLOWED');
    expect(proxy.asked).toHaveLength(1);
  });

  test('passes a literal address and the port unchanged', async () => {
    const { proxy } = await start();
    const outbound = client({ proxy });
    expect((await outbound.get(new URL('https://[3000::1]:8443/'), { headers })).status).toBe(404);
    expect(proxy.asked.map(({ target }) => target)).toEqual(['[3000::1]:8443']);
  });

  test('sends no token when another host answers without a certificate for the name', async () => {
    for (const tls of [certificates.good, certificates.selfSigned, certificates.wrongHost]) {
      const thief = await startOkta({ tls });
      const proxy = await startProxy(proxies.tunnelTo(thief.port));
      expect(await failure({ proxy })).toHaveProperty('reason', 'TLS');
      expect(thief.requests).toEqual([]);
    }
  });

  test('reuses connections', async () => {
    const { here, proxy } = await start();
    const outbound = client({ proxy });
    for (const _ of [1, 2, 3, 4, 5]) await outbound.get(url, { headers });
    expect(here.requests).toHaveLength(5);
    expect(proxy.connections()).toBeLessThan(5);
  });

  test('keeps the headers of proxy and host apart, with the password only for the proxy', async () => {
    const { here, proxy } = await start();
    const { authorization } = parseProxy('http://us%40er:p%3Ass@proxy.test:3128') ?? {};
    await client({ proxy: { host: proxy.host, port: proxy.port, authorization } }).get(url, { headers });
    const basic = `Basic ${Buffer.from('us@er:p:ss').toString('base64')}`;
    expect(proxy.asked[0]?.headers).toHaveProperty('proxy-authorization', basic);
    expect(proxy.asked[0]?.headers).not.toHaveProperty('authorization');
    expect(Object.keys(here.requests[0]?.headers ?? {}).filter((name) => /proxy/.test(name))).toEqual([]);
  });

  test('reaches a trusted host in the private network, also over http', async () => {
    const here = await startOkta();
    const proxy = await startProxy(proxies.tunnelTo(here.port));
    const outbound = client({
      proxy,
      lookup: leadingTo('10.1.2.3'),
      trustedHosts: new Set(['okta.internal:8080']),
    });
    const answer = await outbound.get(new URL('http://okta.internal:8080/api/v1/users/me'), { headers });
    expect(answer.status).toBe(200);
    expect(proxy.asked.map(({ target }) => target)).toEqual(['10.1.2.3:8080']);
    expect(here.requests[0]?.headers).toHaveProperty('host', 'okta.internal:8080');
  });

  test('bypasses the proxy for loopback: the fake Okta, and trusted hosts by address or by name', async () => {
    const here = await startOkta();
    const proxy = await startProxy(proxies.tunnelTo(here.port));
    const outbound = client({
      proxy,
      lookup: leadingTo('::ffff:127.0.0.1', '127.0.0.1'),
      trustedHosts: new Set([here.hostPort, `okta.local:${here.port}`]),
      originOverrides: new Map([['https://example.okta.com', here.origin]]),
    });
    for (const origin of ['https://example.okta.com', here.origin, `http://okta.local:${here.port}`]) {
      expect((await outbound.get(new URL('/api/v1/users/me', origin), { headers })).status).toBe(200);
    }
    expect(proxy.connections()).toBe(0);
  });
});

describe('outbound request through a proxy that resolves names', () => {
  const allowed = { proxyResolves: true, allowedHosts: ['okta.test'] };

  test('sends the name to the proxy, resolves nothing itself, and verifies the certificate for the name', async () => {
    const { here, proxy } = await start();
    const lookup = leadingTo('10.0.0.1');
    const answer = await client({ proxy, lookup, ...allowed }).get(url, { headers });
    expect(answer.status).toBe(200);
    expect(lookup.calls).toBe(0);
    expect(proxy.asked).toMatchObject([
      { target: 'acme.okta.test:443', headers: { host: 'acme.okta.test:443' } },
    ]);
    expect(here.requests[0]?.servername).toBe('acme.okta.test');
  });

  test('sends no token to a host without a certificate for the name', async () => {
    for (const tls of [certificates.good, certificates.selfSigned, certificates.wrongHost]) {
      const thief = await startOkta({ tls });
      const proxy = await startProxy(proxies.tunnelTo(thief.port));
      expect(await failure({ proxy, ...allowed })).toHaveProperty('reason', 'TLS');
      expect(thief.requests).toEqual([]);
    }
  });

  test('rejects a name that is not listed, and an address that is not trusted', async () => {
    const { proxy } = await start();
    for (const [host, reason] of [
      ['evilokta.test', 'HOST_NOT_LISTED'],
      ['8.8.8.8', 'HOST_NOT_LISTED'],
      ['127.0.0.1', 'HOST_NOT_LISTED'],
      ['[::1]', 'HOST_NOT_LISTED'],
      ['169.254.169.254', 'HOST_NOT_LISTED'],
      ['localhost', 'HOST_NOT_LISTED'],
    ] as const) {
      expect(await failure({ proxy, ...allowed }, new URL(`https://${host}/`))).toHaveProperty(
        'reason',
        reason,
      );
    }
    expect(proxy.connections()).toBe(0);
  });

  test('passes a trusted host by its name or by its address', async () => {
    const here = await startOkta();
    const proxy = await startProxy(proxies.tunnelTo(here.port));
    const trustedHosts = new Set(['okta.internal:8080', '10.1.2.3:80', '[fd00::1]:80']);
    const outbound = client({ proxy, ...allowed, lookup: leadingTo(), trustedHosts });
    for (const origin of ['http://okta.internal:8080', 'http://10.1.2.3', 'http://[fd00::1]']) {
      expect((await outbound.get(new URL('/api/v1/users/me', origin), { headers })).status).toBe(200);
    }
    expect(proxy.asked.map(({ target }) => target)).toEqual([
      'okta.internal:8080',
      '10.1.2.3:80',
      '[fd00::1]:80',
    ]);
  });

  test('bypasses the proxy for loopback', async () => {
    const here = await startOkta();
    const proxy = await startProxy(proxies.refusing(500));
    const outbound = client({
      proxy,
      ...allowed,
      lookup: leadingTo('127.0.0.1'),
      trustedHosts: new Set([here.hostPort, `localhost:${here.port}`, `okta.localhost:${here.port}`]),
    });
    for (const host of [here.hostPort, `localhost:${here.port}`, `okta.localhost:${here.port}`]) {
      const answer = await outbound.get(new URL('/api/v1/users/me', `http://${host}`), { headers });
      expect(answer.status).toBe(200);
    }
    expect(proxy.connections()).toBe(0);
  });

  test('reports an unresolvable name as a failure of the proxy', async () => {
    const proxy = await startProxy(proxies.refusing(502));
    expect(await failure({ proxy, ...allowed })).toMatchObject({
      reason: 'PROXY',
      message: 'the outbound proxy could not connect to the host (status 502)',
    });
    expect(proxy.asked).toHaveLength(1);
  });
});

describe('several addresses of a host behind a proxy', () => {
  const four = ['3000::1', '3000::2', '8.8.8.8', '3000::3', '8.8.4.4', '3000::4'];

  test('are tried in turn, IPv4 first, when the proxy cannot reach one', async () => {
    const { here, proxy } = await start();
    const leading = proxies.tunnelTo(here.port);
    proxy.behave((request, socket) =>
      request.url === '[3000::1]:443' ? leading(request, socket) : proxies.refusing(502)(request, socket),
    );
    expect((await client({ proxy, lookup: leadingTo(...four) }).get(url, { headers })).status).toBe(200);
    expect(proxy.asked.map(({ target }) => target)).toEqual(['8.8.8.8:443', '8.8.4.4:443', '[3000::1]:443']);
  });

  test('are tried up to four times, and once when the proxy itself fails', async () => {
    const proxy = await startProxy(proxies.refusing(504));
    expect(await failure({ proxy, lookup: leadingTo(...four) })).toHaveProperty('reason', 'PROXY');
    expect(proxy.asked).toHaveLength(4);
    proxy.behave(proxies.refusing(407));
    expect(await failure({ proxy, lookup: leadingTo(...four) })).toHaveProperty('reason', 'PROXY');
    expect(proxy.asked).toHaveLength(5);
  });
});

describe('failing proxy is never bypassed', () => {
  test.each([
    ['it requires a password', proxies.refusing(407), /rejected the user name or password \(status 407\)/],
    ['it forbids the host', proxies.refusing(403), /denied the connection \(status 403\)/],
    ['it does not reach the host', proxies.refusing(502), /could not connect to the host \(status 502\)/],
    ['it is overloaded', proxies.refusing(503), /could not connect to the host \(status 503\)/],
    ['it is broken', proxies.refusing(500), /did not connect \(status 500\)/],
    ['it redirects', proxies.refusing(302), /did not connect \(status 302\)/],
    ['it closes the connection', proxies.answeringWith(''), /closed before the response/],
    ['it speaks another protocol', proxies.answeringWith('SSH-2.0-OpenSSH_9.9\r\n'), /not HTTP/],
    [
      'it sends an endless response',
      proxies.answeringWith(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(99_000)}\r\n\r\n`),
      /too large/,
    ],
    [
      'it answers in place of the host',
      proxies.answeringWith('HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n'),
      /data of its own/,
    ],
    ['it never answers', proxies.silent, /there was no response within 0\.4 s/],
  ])('when %s', async (_, behaviour, message) => {
    const proxy = await startProxy(behaviour);
    using attempts = countConnectionAttempts();
    const error = await failure({ proxy, timeoutMs: 500 });
    expect(error).toMatchObject({
      reason: 'PROXY',
      message: expect.stringMatching(/^the outbound proxy /),
    });
    expect(error.message).toMatch(message);
    expect(new Set(attempts.targets())).toEqual(new Set([`127.0.0.1:${proxy.port}`]));
  });

  test('when it does not listen', async () => {
    const port = await closedPort();
    using attempts = countConnectionAttempts();
    expect(await failure({ proxy: { host: '127.0.0.1', port } })).toMatchObject({
      reason: 'PROXY',
      message: 'the outbound proxy failed: the connection was refused',
      code: 'ECONNREFUSED',
    });
    expect(attempts.targets()).toEqual([`127.0.0.1:${port}`]);
  });
});

describe('limits behind a proxy', () => {
  test.each([
    ['headers never arrive', okta.slowHeaders, 'TIMEOUT', 'there was no response within 0.5 s'],
    ['a body arrives slowly', okta.slowBody, 'TIMEOUT', 'the response was not complete within 0.5 s'],
    ['a body has no end', okta.endlessBody, 'TOO_LARGE', 'the response is larger than 100000 bytes'],
  ])('when %s', async (_, handler, reason, message) => {
    const { here, proxy } = await start(handler);
    const timeoutMs = reason === 'TIMEOUT' ? 500 : 10_000;
    expect(await failure({ proxy, timeoutMs, maxBytes: 100_000 })).toMatchObject({ reason, message });
    await here.requests[0]?.disconnected;
  });

  test('end a request to a silent resolver, without delay for later requests', async () => {
    const { proxy } = await start();
    const lookups = [() => new Promise<never>(() => undefined), leadingTo('3000::1')];
    const lookup: Lookup = (name) => (lookups.shift() ?? leadingTo('10.0.0.1'))(name);
    const outbound = client({ proxy, lookup, timeoutMs: 1_000 });
    await expect(outbound.get(url, { headers })).rejects.toMatchObject({
      reason: 'TIMEOUT',
      message: 'the host name could not be resolved within 0.8 s',
    });
    expect((await outbound.get(url, { headers })).status).toBe(200);
  });

  test('end a TLS handshake that does not complete', async () => {
    const proxy = await startProxy((_, socket) => void socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    expect(await failure({ proxy, timeoutMs: 500 })).toHaveProperty('reason', 'TIMEOUT');
  });

  test.each([
    ['the tunnel', ''],
    ['TLS', 'HTTP/1.1 200 OK\r\n\r\n'],
  ])('close what waits for %s when the client closes', async (_, said) => {
    const gone = Promise.withResolvers<void>();
    const proxy = await startProxy((_, socket) => {
      socket.resume().once('end', gone.resolve).once('close', gone.resolve).write(said);
    });
    // Long enough that the timeout is not mistaken for the close.
    const outbound = client({ proxy, timeoutMs: 120_000 });
    const exchange = outbound.get(url, { headers }).catch((error: unknown) => error);
    await expect.poll(() => proxy.asked.length).toBe(1);
    await outbound.close();
    expect(await exchange).toHaveProperty('reason', 'ABORTED');
    await gone.promise;
  });
});
