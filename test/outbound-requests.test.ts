import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { isPublicAddress } from '../src/outbound/address.ts';
import { createOutbound } from '../src/outbound/create-outbound.ts';
import type { Lookup } from '../src/outbound/dns.ts';
import type { OutboundSettings } from '../src/outbound/outbound.ts';
import { OutboundError } from '../src/outbound/outbound-error.ts';
import { type Certificates, type KeyPair, makeCertificates, trust } from './testkit/certificates.ts';
import { countConnectionAttempts } from './testkit/connection-attempts.ts';
import { brokenHosts, disguisedHosts, forbiddenAddresses } from './testkit/forbidden-hosts.ts';
import * as okta from './testkit/okta.ts';

/** A public address without a host: IANA has assigned nothing in 3000::/4. */
const unassigned = { address: '3000::1', family: 6 } as const;

let certificates: Certificates;
beforeAll(async () => {
  certificates = await makeCertificates();
});

const cleanups: (() => Promise<void>)[] = [];
afterAll(() => Promise.all(cleanups.map((cleanup) => cleanup())));

function client(settings: Partial<OutboundSettings> = {}) {
  const outbound = createOutbound({ trustedHosts: new Set(), ...settings });
  cleanups.push(() => outbound.close());
  return outbound;
}

/** Returns the error of a failing request. */
async function failure(
  settings: Partial<OutboundSettings>,
  url: string,
  signal?: AbortSignal,
): Promise<OutboundError> {
  const error: unknown = await client(settings)
    .get(new URL(url), { headers: { authorization: 'SSWS planted-token' }, signal })
    .then(
      () => undefined,
      (reason) => reason,
    );
  if (!(error instanceof OutboundError))
    throw new Error('the request did not fail with an OutboundError', { cause: error });
  return error;
}

async function startOkta(options?: Parameters<typeof okta.startOkta>[0]) {
  const started = await okta.startOkta(options);
  onTestFinished(started.close);
  return started;
}

function resolving(...answers: { address: string; family: 4 | 6 }[][]): Lookup & { calls: string[] } {
  const calls: string[] = [];
  return Object.assign(
    async (hostname: string) => {
      calls.push(hostname);
      return answers[Math.min(calls.length, answers.length) - 1] ?? [];
    },
    { calls },
  );
}

function at(address: string) {
  return { address, family: net.isIPv6(address) ? 6 : 4 } as const;
}

/** A proxy address on which nothing listens. */
const proxy = { host: '127.0.0.1', port: 9 };

describe.each([
  ['directly', undefined],
  ['through a proxy', proxy],
])('non-public addresses, %s', (_, proxy) => {
  test.each(forbiddenAddresses)(
    'rejects %s as the host of a URL without a connection attempt',
    async (address) => {
      using attempts = countConnectionAttempts();
      const lookup = resolving([unassigned]);
      const error = await failure(
        { lookup, proxy },
        `https://${net.isIPv6(address) ? `[${address}]` : address}/`,
      );
      expect(error.reason).toBe('HOST_NOT_ALLOWED');
      expect(lookup.calls).toEqual([]);
      expect(attempts.count).toBe(0);
    },
  );

  test.each(disguisedHosts)(
    'rejects %s as the host of a URL even when it resolves to a public address',
    async (host) => {
      using attempts = countConnectionAttempts();
      const error = await failure({ lookup: resolving([unassigned]), proxy }, `https://${host}/`);
      expect(error.reason).toBe('HOST_NOT_ALLOWED');
      expect(attempts.count).toBe(0);
    },
  );

  test.each(forbiddenAddresses)('rejects %s when a name resolves to it', async (address) => {
    using attempts = countConnectionAttempts();
    const lookup = resolving([at(address)]);
    const error = await failure({ lookup, proxy }, 'https://acme.okta.test/');
    expect(error).toMatchObject({
      reason: 'HOST_NOT_ALLOWED',
      message: 'the host name resolves to a private or reserved address',
    });
    expect(lookup.calls).toEqual(['acme.okta.test']);
    expect(attempts.count).toBe(0);
  });

  test.each([
    [[unassigned, at('10.0.0.1')]],
    [[at('10.0.0.1'), unassigned]],
    [[at('fe80::1%lo'), unassigned]],
  ])('rejects a name that has a public and a non-public address: %j', async (addresses) => {
    using attempts = countConnectionAttempts();
    const error = await failure({ lookup: resolving(addresses), proxy }, 'https://acme.okta.test/');
    expect(error.reason).toBe('HOST_NOT_ALLOWED');
    expect(attempts.count).toBe(0);
  });

  test('rejects a resolver result that is not an address', async () => {
    const lookup = resolving([{ address: 'localhost', family: 4 }]);
    expect(await failure({ lookup, proxy }, 'https://acme.okta.test/')).toMatchObject({
      reason: 'HOST_NOT_ALLOWED',
    });
  });
});

test('classifies public addresses as public, and rejects what only looks like a host', () => {
  const addresses = [
    '1.1.1.1',
    '8.8.8.8',
    '52.1.2.3',
    '100.63.255.255',
    '172.32.0.1',
    '2606:4700::1111',
    '2606:4700::5eff:a00:1',
    '2a00:1450:4001::1',
    unassigned.address,
    // NAT64: 8.8.8.8, 1.1.1.1 and 52.1.2.3.
    '64:ff9b::808:808',
    '64:FF9B::1.1.1.1',
    '0064:ff9b:0:0:0:0:3401:0203',
  ];
  expect(addresses.filter((address) => !isPublicAddress(address))).toEqual([]);
  expect(`${unassigned.address}%lo`).not.toSatisfy(isPublicAddress);
  expect(brokenHosts.filter((host) => URL.canParse(`https://${host}`))).toEqual([]);
});

describe('DNS rebinding to a loopback address', () => {
  test('is prevented by one lookup per connection', async () => {
    const here = await startOkta({ tls: certificates.good });
    const lookup = resolving([unassigned], [at('127.0.0.1')]);
    const outbound = client({ lookup, timeoutMs: 250 });
    const url = new URL(`https://rebind.okta.test:${here.port}/`);

    const first = await outbound.get(url, { headers: {} }).catch((error: unknown) => error);
    expect(first).toBeInstanceOf(OutboundError);
    expect(first).toHaveProperty('reason', expect.stringMatching(/^(TIMEOUT|UNREACHABLE)$/));
    expect(lookup.calls).toEqual(['rebind.okta.test']);

    const second = await outbound.get(url, { headers: {} }).catch((error: unknown) => error);
    expect(second).toHaveProperty('reason', 'HOST_NOT_ALLOWED');
    expect(here.connections()).toBe(0);
  });
});

describe('trusted hosts', () => {
  test('may use http and loopback addresses', async () => {
    const here = await startOkta();
    const outbound = client({ trustedHosts: new Set([here.hostPort]) });
    const answer = await outbound.get(new URL(`${here.origin}/api/v1/users/me?a=b`), {
      headers: { 'x-a': 'b' },
    });
    expect(answer.status).toBe(401);
    expect(JSON.parse(answer.body)).toMatchObject({ errorCode: 'E0000011' });
    expect(answer.headers).toMatchObject({ 'content-type': 'application/json' });
    const [request] = here.requests;
    expect(request).toMatchObject({ method: 'GET', path: '/api/v1/users/me?a=b' });
    expect(request?.headers).toMatchObject({
      'x-a': 'b',
      'user-agent': 'app-connections',
      host: here.hostPort,
    });
    expect(request?.headers).toHaveProperty('accept-encoding', 'identity');
  });

  test('are matched by host and port', async () => {
    const [here, other] = await Promise.all([startOkta(), startOkta()]);
    const settings = { trustedHosts: new Set([other.hostPort]) };
    expect(await failure(settings, here.origin)).toMatchObject({ reason: 'HOST_NOT_ALLOWED' });
    expect(await failure(settings, `https://${here.hostPort}`)).toMatchObject({ reason: 'HOST_NOT_ALLOWED' });
    expect(here.connections()).toBe(0);
  });

  test('are the only hosts that may use http', async () => {
    const lookup = resolving([unassigned]);
    const error = await failure({ lookup }, 'http://acme.okta.test/');
    expect(error).toMatchObject({
      reason: 'HOST_NOT_ALLOWED',
      message: 'only https is allowed for this host',
    });
    expect(lookup.calls).toEqual([]);
  });

  test('must name the default port explicitly', async () => {
    const settings = { lookup: resolving([at('127.0.0.1')]), trustedHosts: new Set(['acme.test:443']) };
    expect((await failure(settings, 'https://acme.test/')).reason).not.toBe('HOST_NOT_ALLOWED');
    expect((await failure(settings, 'https://acme.test:444/')).reason).toBe('HOST_NOT_ALLOWED');
  });
});

describe('origin overrides (fake Okta)', () => {
  test('answer for their origin and for no other', async () => {
    const here = await startOkta();
    const lookup = resolving([at('127.0.0.1')]);
    const outbound = client({
      lookup,
      originOverrides: new Map([['https://example.okta.com', here.origin]]),
    });
    const answer = await outbound.get(new URL('https://example.okta.com/.well-known/okta-organization'), {
      headers: {},
    });
    expect(JSON.parse(answer.body)).toHaveProperty('pipeline', 'idx');
    expect(lookup.calls).toEqual([]);
    const neighbour = outbound.get(new URL('https://example.okta.com:8443/'), { headers: {} });
    await expect(neighbour).rejects.toHaveProperty('reason', 'HOST_NOT_ALLOWED');
    expect(here.requests).toHaveLength(1);
  });
});

describe('TLS certificates', () => {
  async function against(keyPair: KeyPair, authority?: KeyPair) {
    using _ = authority && trust(authority);
    const here = await startOkta({ tls: keyPair });
    const error = await failure({ trustedHosts: new Set([here.hostPort]) }, here.origin);
    expect(here.requests).toEqual([]);
    return error;
  }

  test('accepts a valid certificate', async () => {
    using _ = trust(certificates.ca);
    const here = await startOkta({ tls: certificates.good });
    const outbound = client({ trustedHosts: new Set([here.hostPort]) });
    expect(await outbound.get(new URL(here.origin), { headers: {} })).toHaveProperty('status', 404);
  });

  test.each([
    ['expired', 'the certificate has expired'],
    ['wrongHost', 'the certificate is for another host name'],
    ['selfSigned', 'the certificate is self-signed'],
  ] as const)('rejects %s: %s', async (name, message) => {
    expect(await against(certificates[name], certificates.ca)).toMatchObject({ reason: 'TLS', message });
  });

  test('rejects a certificate of an untrusted authority', async () => {
    expect(await against(certificates.good)).toMatchObject({
      reason: 'TLS',
      message: 'the certificate is not signed by an authority that this server trusts',
    });
  });

  test('cannot be disabled by the environment', async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    onTestFinished(() => {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    });
    expect(await against(certificates.selfSigned)).toHaveProperty('reason', 'TLS');
  });

  test('reports a port that does not speak TLS', async () => {
    const here = await startOkta();
    const error = await failure({ trustedHosts: new Set([here.hostPort]) }, `https://${here.hostPort}`);
    expect(error).toMatchObject({ reason: 'TLS', message: 'the port does not speak TLS' });
  });
});

describe('DNS failures', () => {
  test.each([
    ['ENOTFOUND', 'UNKNOWN_HOST', 'the host name does not exist'],
    ['EAI_AGAIN', 'UNREACHABLE', 'the host name could not be resolved'],
    ['ESERVFAIL', 'UNREACHABLE', 'the host name could not be resolved'],
  ])('reports %s', async (code, reason, message) => {
    const lookup = () => Promise.reject(Object.assign(new Error('getaddrinfo secret.test'), { code }));
    expect(await failure({ lookup }, 'https://acme.okta.test/')).toMatchObject({ reason, message, code });
  });

  test('reports a name without addresses', async () => {
    expect(await failure({ lookup: resolving([]) }, 'https://acme.okta.test/')).toMatchObject({
      reason: 'UNKNOWN_HOST',
    });
  });

  test('applies the deadline to a resolver that never answers', async () => {
    const lookup = () => new Promise<never>(() => undefined);
    expect(await failure({ lookup, timeoutMs: 50 }, 'https://acme.okta.test/')).toMatchObject({
      reason: 'TIMEOUT',
      message: 'there was no response within 0.05 s',
    });
  });
});

describe('limits of an outbound request', () => {
  async function trusting(handler: okta.Behaviour) {
    const here = await startOkta({ handler });
    return { here, settings: { trustedHosts: new Set([here.hostPort]), timeoutMs: 250, maxBytes: 100_000 } };
  }

  test('time out when headers never arrive', async () => {
    const { here, settings } = await trusting(okta.slowHeaders);
    expect(await failure(settings, here.origin)).toMatchObject({
      reason: 'TIMEOUT',
      message: 'there was no response within 0.25 s',
    });
    await here.requests[0]?.disconnected;
  });

  test('time out when a body arrives slowly', async () => {
    const { here, settings } = await trusting(okta.slowBody);
    expect(await failure(settings, here.origin)).toMatchObject({
      reason: 'TIMEOUT',
      message: 'the response was not complete within 0.25 s',
    });
    await here.requests[0]?.disconnected;
  });

  test('destroy the connection when a body has no end', async () => {
    const { here, settings } = await trusting(okta.endlessBody);
    expect(await failure({ ...settings, timeoutMs: 10_000 }, here.origin)).toMatchObject({
      reason: 'TOO_LARGE',
      message: 'the response is larger than 100000 bytes',
    });
    await here.requests[0]?.disconnected;
  });

  test('accept a body of exactly the maximum size', async () => {
    const { here, settings } = await trusting((_, response) => response.end('é'.repeat(50_000)));
    const answer = await client(settings).get(new URL(here.origin), { headers: {} });
    expect(answer.body).toBe('é'.repeat(50_000));
  });

  test('abort when the caller disconnects, before and while waiting', async () => {
    const controller = new AbortController();
    const { here, settings } = await trusting(() => controller.abort(new Error('planted-token')));
    const patient = { ...settings, timeoutMs: 10_000 };
    const error = await failure(patient, here.origin, controller.signal);
    expect(error).toMatchObject({ reason: 'ABORTED', message: 'the request was aborted' });
    await here.requests[0]?.disconnected;
    using attempts = countConnectionAttempts();
    expect(await failure(patient, here.origin, controller.signal)).toHaveProperty('reason', 'ABORTED');
    // undici connects in a later turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    expect(attempts.count).toBe(0);
  });

  test('end requests in flight on close', async () => {
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const { here, settings } = await trusting(() => resolve());
    const outbound = client({ ...settings, timeoutMs: 10_000 });
    const exchange = outbound.get(new URL(here.origin), { headers: {} }).catch((error: unknown) => error);
    await asked;
    await outbound.close();
    expect(await exchange).toHaveProperty('reason', 'ABORTED');
    await here.requests[0]?.disconnected;
  });

  test('end connection attempts on close', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const before = sockets();
    using attempts = countConnectionAttempts();
    const outbound = client({ lookup: resolving([unassigned]) });
    const exchange = outbound
      .get(new URL('https://acme.okta.test/'), { headers: {} })
      .catch((error: unknown) => error);
    await expect.poll(() => attempts.count).toBe(1);
    await outbound.close();
    // UNREACHABLE on machines without IPv6.
    expect(await exchange).toHaveProperty('reason', expect.stringMatching(/^(ABORTED|UNREACHABLE)$/));
    await expect.poll(sockets).toBeLessThanOrEqual(before);
  });

  test('reuse connections', async () => {
    const here = await startOkta();
    const outbound = client({ trustedHosts: new Set([here.hostPort]) });
    for (const _ of [1, 2, 3, 4, 5]) await outbound.get(new URL(here.origin), { headers: {} });
    expect(here.requests).toHaveLength(5);
    // More than one is possible: undici may deliver the end of a body before it frees the connection.
    expect(here.connections()).toBeLessThan(5);
  });
});

describe('misbehaving hosts', () => {
  async function serveBytes(bytes: string) {
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end(bytes));
    });
    onTestFinished(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const address = server.address();
    const hostPort = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
    return { trustedHosts: new Set([hostPort]), url: `http://${hostPort}/` };
  }

  test.each([
    ['nothing', '', 'RESET'],
    ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n', 'PROTOCOL'],
    ['less body than promised', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc', 'RESET'],
    ['a chunk cut off', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab', 'RESET'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab', 'RESET'],
    ['an unrequested upgrade', 'HTTP/1.1 101 Hi\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n', 'RESET'],
    ['too many headers', `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 'TOO_LARGE'],
  ])('reports %s', async (_, bytes, reason) => {
    const { url, trustedHosts } = await serveBytes(bytes);
    expect(await failure({ trustedHosts }, url)).toHaveProperty('reason', reason);
  });

  test('handles headers named like properties of Object.prototype', async () => {
    const names = ['__proto__', 'constructor', 'toString', '__proto__'];
    const bytes = `HTTP/1.1 200 OK\r\n${names.map((name) => `${name}: x\r\n`).join('')}content-length: 2\r\n\r\nok`;
    const { url, trustedHosts } = await serveBytes(bytes);
    expect(await client({ trustedHosts }).get(new URL(url), { headers: {} })).toHaveProperty('body', 'ok');
  });

  test('returns a redirect as the response without following it', async () => {
    const target = await startOkta();
    const here = await startOkta({ handler: okta.redirect(target.origin) });
    const outbound = client({ trustedHosts: new Set([here.hostPort, target.hostPort]) });
    const answer = await outbound.get(new URL(here.origin), { headers: {} });
    expect(answer).toMatchObject({ status: 302, headers: { location: target.origin } });
    expect(target.connections()).toBe(0);
  });

  test('reports a refused connection', async () => {
    const here = await startOkta();
    await here.close();
    const error = await failure({ trustedHosts: new Set([here.hostPort]) }, here.origin);
    expect(error).toMatchObject({
      reason: 'REFUSED',
      message: 'the connection was refused',
      code: 'ECONNREFUSED',
    });
  });
});

test('rejects invalid request headers without echoing them', async () => {
  const here = await startOkta();
  const outbound = client({ trustedHosts: new Set([here.hostPort]) });
  for (const value of ['planted\r\nx: y', 'planted\u0000', 'planted…']) {
    const exchange = outbound.get(new URL(here.origin), { headers: { authorization: value } });
    const error: unknown = await exchange.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OutboundError);
    expect(error).toHaveProperty('reason', 'PROTOCOL');
    expect(String(error)).not.toContain('planted');
  }
  expect(here.requests).toEqual([]);
});
