import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { startFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { currentTimeMs } from '../src/common/clock.ts';
import { Secret } from '../src/common/secret.ts';
import { createOutbound } from '../src/outbound/create-outbound.ts';
import type { Lookup } from '../src/outbound/dns.ts';
import type { OutboundSettings } from '../src/outbound/outbound.ts';
import { OutboundError } from '../src/outbound/outbound-error.ts';
import { makeCertificates, trust } from './testkit/certificates.ts';
import * as okta from './testkit/okta.ts';
import { times } from './testkit/stress.ts';

const token = '00Canary_7f3A-token.value~42';

const method = createApps({ trustedHosts: new Set() })[0]?.methods[0];

/** Verifies a token against any origin. */
async function verify(
  instanceUrl: string,
  {
    apiToken = token,
    signal,
    ...settings
  }: Partial<OutboundSettings> & { apiToken?: string; signal?: AbortSignal } = {},
) {
  if (method === undefined) throw new Error('Okta has no method');
  const outbound = createOutbound({ trustedHosts: new Set(), ...settings });
  onTestFinished(() => outbound.close());
  const credentials = { public: { instanceUrl }, secret: { apiToken: new Secret(apiToken) } };
  const result = await method.verify(credentials, outbound, signal);
  const diagnosis = result.status === 'VERIFIED' ? { ...result, findDetails: undefined } : result;
  expect(new Secret(apiToken).appearsIn(JSON.stringify(diagnosis))).toBe(false);
  if (diagnosis.status !== 'VERIFIED') {
    expect(diagnosis.message).toMatch(/^[A-Z].*\.$/);
    expect(diagnosis.remedy).toMatch(/^[A-Z].*\.$/);
  }
  return diagnosis;
}

async function startOkta(options?: Parameters<typeof okta.startOkta>[0]) {
  const started = await okta.startOkta(options);
  onTestFinished(started.close);
  return started;
}

/** Verifies a token against a fake Okta with this behaviour. */
async function verifyAgainst(
  handler: okta.Behaviour | undefined,
  settings: Partial<OutboundSettings> & { apiToken?: string } = {},
) {
  const here = await startOkta({ handler });
  return verify(here.origin, { trustedHosts: new Set([here.hostPort]), ...settings });
}

const requestId = expect.stringMatching(/^[\w-]{24}$/);
const unreachable = (message: string) => ({
  status: 'UNREACHABLE',
  code: 'UPSTREAM_UNREACHABLE',
  message: expect.stringContaining(message),
  upstreamRequestId: null,
});
const notOkta = (message: string) => ({
  status: 'REJECTED',
  code: 'NOT_AN_OKTA_ORG',
  message: expect.stringContaining(message),
  remedy: expect.stringContaining('https://example.okta.com'),
});

describe('diagnosis of a valid token', () => {
  test('is verified with the owner and the request id', async () => {
    const here = await startOkta();
    expect(await verify(here.origin, { trustedHosts: new Set([here.hostPort]) })).toEqual({
      status: 'VERIFIED',
      account: { id: '00ub0oNGTSWTBKOLGLNR', login: 'ada.admin@example.com', status: 'ACTIVE' },
      upstreamRequestId: requestId,
    });
    expect(here.requests).toHaveLength(2);
    expect(here.requests[0]).toMatchObject({ method: 'GET', path: okta.wellKnown });
    expect(here.requests[0]?.headers).not.toHaveProperty('authorization');
    expect(here.requests[1]).toMatchObject({
      method: 'GET',
      path: '/api/v1/users/me',
      headers: {
        authorization: `SSWS ${token}`,
        accept: 'application/json',
        'user-agent': 'app-connections',
      },
    });
  });

  test('is verified over TLS', async () => {
    const { ca, good } = await makeCertificates();
    using _ = trust(ca);
    const here = await startOkta({ tls: good });
    expect(await verify(here.origin, { trustedHosts: new Set([here.hostPort]) })).toHaveProperty(
      'status',
      'VERIFIED',
    );
  });

  test.each([
    [{ profile: undefined, status: undefined }],
    [{ profile: null, status: null }],
    [{ profile: { login: 5 }, status: {} }],
    [{ profile: 'none', status: '' }],
  ])('is verified without login or status: %j', async (changes) => {
    expect(await verifyAgainst(okta.answering(changes))).toMatchObject({
      status: 'VERIFIED',
      account: { id: '00ub0oNGTSWTBKOLGLNR', login: null, status: null },
    });
  });

  test.each([
    'ada.admin@example.com',
    'ada+okta_1@mail.example.co.uk',
    "o'neill-smith@example.com",
    `${'a'.repeat(40)}@${'b'.repeat(36)}.com`,
  ])('keeps the login %s', async (login) => {
    expect(await verifyAgainst(okta.answering({ profile: { login } }))).toHaveProperty(
      'account.login',
      login,
    );
  });

  test('lowercases the domain of the login', async () => {
    const handler = okta.answering({ profile: { login: 'Ada.Admin@Example.COM' } });
    expect(await verifyAgainst(handler)).toHaveProperty('account.login', 'Ada.Admin@example.com');
  });

  test.each([
    ['no email address', 'ada'],
    ['two @', 'ada@example@example.com'],
    ['a domain without a dot', 'ada@localhost'],
    ['a long name', `${'a'.repeat(41)}@example.com`],
    ['a long domain', `ada@${'b'.repeat(37)}.com`],
    ['an empty name', '@example.com'],
    ['a percent escape', '%30%30@example.com'],
    ['a slash', 'MDA/@example.com'],
    ['white space', 'ada admin@example.com'],
    ['a line break', 'ada@example.com\n'],
    ['NUL', 'ada\u0000@example.com'],
    ['a control character', 'ada\u0085@example.com'],
    ['a zero-width space', 'ada\u200b@example.com'],
    ['a zero-width joiner', 'ada\u200d@example.com'],
    ['a soft hyphen', 'ada\u00ad@example.com'],
    ['a byte order mark', '\ufeffada@example.com'],
    ['a right-to-left override', 'ada\u202e@example.com'],
    ['an isolate', '\u2066ada\u2069@example.com'],
    ['a variation selector', 'ada\ufe0f@example.com'],
    ['a tag character', 'ada\u{e0061}@example.com'],
    ['full-width letters', 'ａｄａ@example.com'],
    ['a lone surrogate', 'ada\ud800@example.com'],
    ['letters of another script', 'аda@example.com'],
  ])('drops a login with %s', async (_, login) => {
    expect(await verifyAgainst(okta.answering({ profile: { login } }))).toMatchObject({
      status: 'VERIFIED',
      account: { id: '00ub0oNGTSWTBKOLGLNR', login: null },
    });
  });

  test.each<[string, string | null]>([
    ['STAGED', 'STAGED'],
    ['LOCKED_OUT', 'LOCKED_OUT'],
    ['PASSWORD_EXPIRED', 'PASSWORD_EXPIRED'],
    ['active', null],
    ['ACTIVE ', null],
    ['ACTIVE\u200b', null],
    ['<script>', null],
    ['00Canary', null],
  ])('reduces the status %j to %j', async (status, kept) => {
    expect(await verifyAgainst(okta.answering({ status }))).toHaveProperty('account.status', kept);
  });

  test.each([
    'req5SjwLTAHQzifnoINMSbFrw',
    'WcrHpdduGgIbMK35lE2FwQAACWI',
    'WVlKlHDA@UaJ2hFnZBwZ5wAABOg',
    'b0473b2ad622651b6becabf069b98fce',
    '7ffbb072-2575-495a-b5b0-127f88caef78',
  ])('keeps the request id %s', async (id) => {
    const handler = okta.withToken(
      (_, response) => void response.writeHead(503, { 'x-okta-request-id': id }).end(),
    );
    expect(await verifyAgainst(handler)).toHaveProperty('upstreamRequestId', id);
  });
});

describe('diagnosis of an Okta refusal', () => {
  test('reports a rejected token', async () => {
    expect(await verifyAgainst(okta.tokenRejected)).toEqual({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      message: 'Okta says that the API token is invalid, expired or revoked.',
      remedy: expect.stringMatching(/Security > API > Tokens.*30 days.*“Any IP”/),
      upstreamRequestId: requestId,
    });
  });

  test.each([
    [
      403,
      'E0000005',
      'CREDENTIALS_REJECTED',
      'Okta says that the request had no valid session (E0000005): it did not accept the API token.',
    ],
    [
      401,
      'E0000005',
      'CREDENTIALS_REJECTED',
      'Okta says that the request had no valid session (E0000005): it did not accept the API token.',
    ],
    [401, 'E0000004', 'CREDENTIALS_REJECTED', 'Okta says that the API token is invalid, expired or revoked.'],
    [403, 'E0000011', 'CREDENTIALS_REJECTED', 'Okta says that the API token is invalid, expired or revoked.'],
    [
      403,
      'E0000015',
      'INSUFFICIENT_PERMISSIONS',
      'Okta refused the request (status 403, E0000015) without saying whether the API token is valid.',
    ],
    [
      403,
      'E0000038',
      'INSUFFICIENT_PERMISSIONS',
      'Okta refused the request (status 403, E0000038) without saying whether the API token is valid.',
    ],
  ])('maps status %i with %s to %s', async (status, errorCode, code, message) => {
    const handler = okta.withToken(
      (_, response) => void response.writeHead(status).end(JSON.stringify({ errorCode, errorSummary: 'x' })),
    );
    const diagnosis = await verifyAgainst(handler);
    expect(diagnosis).toMatchObject({ status: 'REJECTED', code, message });
  });

  test('reports insufficient permissions when the role is too weak', async () => {
    expect(await verifyAgainst(okta.insufficientRole)).toEqual({
      status: 'REJECTED',
      code: 'INSUFFICIENT_PERMISSIONS',
      message: expect.stringContaining('The API token is valid'),
      remedy: expect.stringMatching(/admin role.*Security > API > Tokens.*“Any IP”/),
      upstreamRequestId: requestId,
    });
  });

  test('reports a rate limit with its reset time', async () => {
    const retryAt = new Date(Math.ceil(Date.now() / 1000) * 1000 + 45_000);
    expect(await verifyAgainst(okta.rateLimited(retryAt))).toEqual({
      status: 'UNREACHABLE',
      code: 'UPSTREAM_RATE_LIMITED',
      message: `Okta limits the rate of requests until ${retryAt.toISOString()}. The API token was not verified.`,
      remedy: expect.stringContaining(`Try again after ${retryAt.toISOString()}.`),
      retryAt,
      upstreamRequestId: requestId,
    });
  });

  const limitedWith = (headers: Record<string, string>) =>
    okta.withToken((_, response) => void response.writeHead(429, headers).end());

  test.each([
    [{}],
    [{ 'x-rate-limit-reset': 'soon' }],
    [{ 'x-rate-limit-reset': '' }],
    [{ 'x-rate-limit-reset': '1e99' }],
    [{ 'x-rate-limit-reset': '9'.repeat(400) }],
    [{ 'x-rate-limit-reset': '-1' }],
    [{ 'x-rate-limit-reset': '1700000000' }],
    [{ 'x-rate-limit-reset': '99999999999', 'retry-after': '999999999' }],
    [{ 'retry-after': 'Mon, 01 Jan 2001 00:00:00 GMT' }],
  ])('reports a rate limit without a time when the reset header is invalid: %j', async (headers) => {
    const diagnosis = await verifyAgainst(limitedWith(headers));
    expect(diagnosis).toMatchObject({
      status: 'UNREACHABLE',
      code: 'UPSTREAM_RATE_LIMITED',
      message: 'Okta limits the rate of requests. The API token was not verified.',
    });
    expect(diagnosis).not.toHaveProperty('retryAt');
  });

  test('reports a rate limit with the time of Retry-After when there is no other header', async () => {
    const date = new Date(Math.ceil(Date.now() / 1000) * 1000 + 90_000);
    expect(await verifyAgainst(limitedWith({ 'retry-after': date.toUTCString() }))).toHaveProperty(
      'retryAt',
      date,
    );
    const seconds = { 'x-rate-limit-reset': '0', 'retry-after': '3600' };
    expect(await verifyAgainst(limitedWith(seconds))).toHaveProperty('retryAt', expect.any(Date));
  });

  const soon = Math.ceil(Date.now() / 1000) + 600;
  const soonDate = new Date(soon * 1000);

  test.each<[string, okta.Behaviour]>([
    ['joined by a proxy', limitedWith({ 'x-rate-limit-reset': `${soon}, ${soon}` })],
    ['joined without a space', limitedWith({ 'x-rate-limit-reset': `${soon},${soon}` })],
    ['with one that has passed', limitedWith({ 'x-rate-limit-reset': `1700000000, ${soon}` })],
    ['with one that is no number', limitedWith({ 'x-rate-limit-reset': `${soon}, soon` })],
    [
      'with two values, the later of which applies',
      limitedWith({ 'x-rate-limit-reset': `${soon - 300}, ${soon}` }),
    ],
    [
      'as two headers',
      (_, response) =>
        void response
          .writeHead(429, ['X-Rate-Limit-Reset', `${soon}`, 'X-Rate-Limit-Reset', `${soon}`])
          .end(),
    ],
    [
      'as a doubled date',
      limitedWith({ 'retry-after': `${soonDate.toUTCString()}, ${soonDate.toUTCString()}` }),
    ],
  ])('reports a rate limit without guessing when the reset header is repeated, %s', async (_, handler) => {
    expect(await verifyAgainst(handler)).toHaveProperty('retryAt', soonDate);
  });

  test.each([
    ['ahead', 3_600],
    ['behind', -3_600],
    ['days ahead', 5 * 86_400],
  ])('computes the reset time from the Date header when the clock of Okta is %s', async (_, difference) => {
    const there = Math.floor(Date.now() / 1000) + difference;
    for (const [name, value] of [
      ['x-rate-limit-reset', `${there + 600}`],
      ['retry-after', new Date((there + 600) * 1000).toUTCString()],
      ['retry-after', '600'],
      ['retry-after', '600, 600'],
    ] as const) {
      const before = currentTimeMs();
      const handler = limitedWith({ [name]: value, date: new Date(there * 1000).toUTCString() });
      const diagnosis = await verifyAgainst(handler);
      const retryAt = 'retryAt' in diagnosis ? diagnosis.retryAt?.getTime() : undefined;
      expect(retryAt).toBeGreaterThanOrEqual(before + 600_000);
      expect(retryAt).toBeLessThanOrEqual(currentTimeMs() + 600_000);
    }
  });
});

describe('diagnosis of an outage, which is never a rejected token,', () => {
  test.each([500, 502, 503, 504, 599])('reports an outage for status %i', async (status) => {
    expect(await verifyAgainst(okta.failing(status))).toMatchObject({
      status: 'UNREACHABLE',
      code: 'UPSTREAM_UNREACHABLE',
      message: expect.stringContaining(`status ${status}`),
      remedy: expect.stringContaining('https://status.okta.com'),
    });
  });

  test.each([500, 502, 503, 504])('reports when to retry for status %i with Retry-After', async (status) => {
    const date = new Date(Math.ceil(Date.now() / 1000) * 1000 + 90_000);
    const waiting = (text: string): okta.Behaviour => {
      return (_, response) => void response.writeHead(status, { 'retry-after': text }).end();
    };
    expect(await verifyAgainst(waiting(date.toUTCString()))).toMatchObject({
      status: 'UNREACHABLE',
      code: 'UPSTREAM_UNREACHABLE',
      remedy: expect.stringContaining(`Try again after ${date.toISOString()}.`),
      retryAt: date,
    });
    expect(await verifyAgainst(waiting('120'))).toHaveProperty('retryAt', expect.any(Date));
    expect(await verifyAgainst(waiting('soon'))).not.toHaveProperty('retryAt');
    expect(await verifyAgainst(waiting('0'))).not.toHaveProperty('retryAt');
  });

  test('ignores rate limit headers when the limit is not exhausted', async () => {
    const handler: okta.Behaviour = (_, response) =>
      void response.writeHead(503, { 'x-rate-limit-reset': `${Math.ceil(Date.now() / 1000) + 60}` }).end();
    expect(await verifyAgainst(handler)).not.toHaveProperty('retryAt');
  });

  test('reports a timeout for slow headers', async () => {
    const diagnosis = await verifyAgainst(okta.slowHeaders, { timeoutMs: 100 });
    expect(diagnosis).toMatchObject(unreachable('there was no response within 0.1 s'));
  });

  test('reports a timeout for a slow body', async () => {
    const diagnosis = await verifyAgainst(okta.slowBody, { timeoutMs: 100 });
    expect(diagnosis).toMatchObject(unreachable('the response was not complete within 0.1 s'));
  });

  test('reports a closed connection', async () => {
    expect(await verifyAgainst(okta.closesConnection)).toMatchObject(
      unreachable('the connection was closed'),
    );
  });

  test('reports a refused connection', async () => {
    const here = await startOkta();
    await here.close();
    const diagnosis = await verify(here.origin, { trustedHosts: new Set([here.hostPort]) });
    expect(diagnosis).toMatchObject(unreachable('the connection was refused'));
  });

  const failing =
    (code: string): Lookup =>
    () =>
      Promise.reject(Object.assign(new Error(code), { code }));

  test('reports an unknown host', async () => {
    const diagnosis = await verify('https://acme.okta.test', { lookup: failing('ENOTFOUND') });
    expect(diagnosis).toMatchObject(unreachable('the host name does not exist'));
    expect(diagnosis).toHaveProperty('remedy', 'Check the spelling of the instance URL.');
  });

  test('reports a failing DNS resolver', async () => {
    const diagnosis = await verify('https://acme.okta.test', { lookup: failing('EAI_AGAIN') });
    expect(diagnosis).toMatchObject(unreachable('the host name could not be resolved'));
  });

  test.each([
    ['expired', 'the certificate has expired'],
    ['selfSigned', 'the certificate is self-signed'],
    ['wrongHost', 'the certificate is for another host name'],
  ] as const)('reports a certificate that is %s', async (name, message) => {
    const certificates = await makeCertificates();
    using _ = trust(certificates.ca);
    const here = await startOkta({ tls: certificates[name] });
    const diagnosis = await verify(here.origin, { trustedHosts: new Set([here.hostPort]) });
    expect(diagnosis).toMatchObject(unreachable(message));
    const namesAuthorities = 'remedy' in diagnosis && diagnosis.remedy.includes('NODE_EXTRA_CA_CERTS');
    expect(namesAuthorities).toBe(name === 'selfSigned');
    expect(here.requests).toEqual([]);
  });

  test('reports a certificate of an untrusted authority', async () => {
    const { good } = await makeCertificates();
    const here = await startOkta({ tls: good });
    const diagnosis = await verify(here.origin, { trustedHosts: new Set([here.hostPort]) });
    expect(diagnosis).toMatchObject(unreachable('not signed by an authority that this server trusts'));
    expect(diagnosis).toHaveProperty('remedy', expect.stringContaining('NODE_EXTRA_CA_CERTS'));
    expect(here.requests).toEqual([]);
  });
});

describe('diagnosis of a server that is not Okta', () => {
  test.each([
    ['not JSON', okta.withToken(okta.notJson()), 'the response is not JSON'],
    ['not Okta', okta.withToken(okta.notOkta()), 'the response does not describe an Okta user'],
    ['an id that is no text', okta.answering({ id: 5 }), 'does not describe an Okta user'],
    ['an id without a visible character', okta.answering({ id: '\u0000' }), 'does not describe an Okta user'],
    [
      'an id of something else',
      okta.answering({ id: '00g1emaKYZTWRYYRRTSK' }),
      'does not describe an Okta user',
    ],
    ['a long id', okta.answering({ id: `00u${'a'.repeat(18)}` }), 'does not describe an Okta user'],
    ['401 that is not Okta’s', okta.withToken(okta.notOkta(401)), 'status 401'],
    ['403 that is not JSON', okta.withToken(okta.notJson(403)), 'status 403'],
    ['404', okta.withToken(okta.notOkta(404)), 'status 404'],
    ['204', okta.withToken(okta.notOkta(204)), 'status 204'],
    ['a redirect', okta.withToken(okta.redirect('https://acme.okta.com/login')), 'it redirects (status 302)'],
    ['an endless body', okta.withToken(okta.endlessBody), 'larger than 65536 bytes'],
    ['no HTTP', okta.withToken(okta.garbage), 'the response is not HTTP'],
  ])('%s', async (_, handler, message) => {
    expect(await verifyAgainst(handler)).toMatchObject(notOkta(message));
  });

  test.each([
    '[]',
    'null',
    '"E0000011"',
    '{"errorCode":"E11"}',
    '{"errorCode":["E0000011"]}',
    '[{"errorCode":"E0000011"}]',
  ])('does not reject the token for a 401 with %s', async (body) => {
    const handler = okta.withToken((_, response) => void response.writeHead(401).end(body));
    expect(await verifyAgainst(handler)).toMatchObject(notOkta('status 401'));
  });

  test('does not send the token to a redirect target', async () => {
    const target = await startOkta();
    const handler = okta.withToken(okta.redirect(`${target.origin}/api/v1/users/me`));
    const here = await startOkta({ handler });
    await verify(here.origin, { trustedHosts: new Set([here.hostPort, target.hostPort]) });
    expect(target.requests).toEqual([]);
  });
});

describe('diagnosis of a host that does not say that it is an Okta organisation', () => {
  const description = (body: string): okta.Behaviour => {
    return (_, response) => void response.writeHead(200).end(body);
  };

  test.each([
    ['a page', okta.notJson(), 'the response to /.well-known/okta-organization is not JSON'],
    ['other JSON', okta.notOkta(), '/.well-known/okta-organization does not describe an Okta organisation'],
    [
      'an id of something else',
      description('{"id":"00ub0oNGTSWTBKOLGLNR"}'),
      'does not describe an Okta org',
    ],
    [
      'an id that is no text',
      description('{"id":["00o5rb5mt2H3d1TJd0h7"]}'),
      'does not describe an Okta org',
    ],
    ['401', okta.notOkta(401), '/.well-known/okta-organization returned status 401'],
    ['404', okta.notJson(404), '/.well-known/okta-organization returned status 404'],
    ['a redirect', okta.redirect('https://acme.okta.com/login'), 'redirects (status 302)'],
    ['an endless body', okta.endlessBody, 'larger than 16384 bytes'],
    ['no HTTP', okta.garbage, 'the response is not HTTP'],
  ])('gets nothing secret when it answers with %s', async (_, handler, message) => {
    const here = await startOkta({ handler });
    const diagnosis = await verify(here.origin, { trustedHosts: new Set([here.hostPort]) });
    expect(diagnosis).toMatchObject(notOkta(message));
    expect(here.requests.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      [okta.wellKnown, undefined],
    ]);
  });

  test.each([
    ['does not answer', okta.slowHeaders],
    ['fails', (_, response) => void response.writeHead(503).end()],
    ['limits the rate', (_, response) => void response.writeHead(429).end()],
  ] satisfies [string, okta.Behaviour][])(
    'gets nothing secret when it %s, and is not called another product',
    async (_, handler) => {
      const here = await startOkta({ handler });
      const trustedHosts = new Set([here.hostPort]);
      const diagnosis = await verify(here.origin, { trustedHosts, timeoutMs: 200 });
      expect(diagnosis).toMatchObject({ status: 'UNREACHABLE', code: expect.stringMatching(/^UPSTREAM_/) });
      expect(here.requests.map(({ path }) => path)).toEqual([okta.wellKnown]);
    },
  );
});

describe('diagnosis of a forbidden host', () => {
  const hostNotAllowed = {
    status: 'REJECTED',
    code: 'HOST_NOT_ALLOWED',
    message: expect.stringContaining('private or reserved address'),
    remedy: expect.stringContaining('TRUSTED_INSTANCE_HOSTS'),
    upstreamRequestId: null,
  };

  test.each(['127.0.0.1', '[::1]', 'localhost', '169.254.169.254', '10.0.0.1'])('%s', async (host) => {
    expect(await verify(`https://${host}`)).toEqual(hostNotAllowed);
  });

  test('rejects a name that resolves to a private address', async () => {
    const lookup: Lookup = async () => [{ address: '10.0.0.1', family: 4 }];
    expect(await verify('https://acme.okta.test', { lookup })).toEqual(hostNotAllowed);
  });

  test('rejects a name that resolves to a public address first and to a loopback address later', async () => {
    const here = await startOkta();
    let lookups = 0;
    const lookup: Lookup = async () => {
      lookups += 1;
      return lookups === 1 ? [{ address: '3000::1', family: 6 }] : [{ address: '127.0.0.1', family: 4 }];
    };
    const diagnosis = await verify(`https://acme.okta.test:${here.port}`, { lookup, timeoutMs: 100 });
    expect(diagnosis).toHaveProperty('code', 'UPSTREAM_UNREACHABLE');
    expect(lookups).toBe(1);
    expect(here.connections()).toBe(0);
  });
});

describe('host that echoes the token', () => {
  const real = '00QAr4FXQq74P-It8uynxHRBZPJ5E7K-b-IKgIjMFu';
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const encodings: Record<string, (text: string) => string> = {
    raw: (text) => text,
    'upper case': (text) => text.toUpperCase(),
    reversed: (text) => [...text].reverse().join(''),
    base64,
    base64url: (text) => Buffer.from(text).toString('base64url'),
    'base64 twice': (text) => base64(base64(text)),
    'base64 of SSWS and the token': (text) => base64(`SSWS ${text}`),
    'base64 of a user and the token': (text) => base64(`user:${text}`),
    'base64 of the token and a user': (text) => base64(`${text}:x`),
    hex: (text) => Buffer.from(text).toString('hex'),
    'every character percent-encoded': (text) =>
      [...text].map((character) => `%${character.charCodeAt(0).toString(16)}`).join(''),
    'numeric entities': (text) => [...text].map((character) => `&#${character.charCodeAt(0)};`).join(''),
    'with dots between': (text) => [...text].join('.'),
    'with hyphens between': (text) => [...text].join('-'),
    'with NULs between': (text) => [...text].join('\u0000'),
    'with zero-width spaces between': (text) => [...text].join('\u200b'),
    'full-width': (text) =>
      [...text].map((character) => String.fromCodePoint(character.charCodeAt(0) + 0xfee0)).join(''),
    'moved by one': (text) =>
      [...text].map((character) => String.fromCharCode(character.charCodeAt(0) + 1)).join(''),
    'cut off by a length limit': (text) => `${'x'.repeat(240)}${text}`,
  };

  /** Sends `text` as a header where a header can carry it. */
  const withRequestId = (text: string, body: object) =>
    okta.withToken((_, response) => {
      const id = /^[\x20-\x7e]*$/.test(text) ? { 'x-okta-request-id': text } : {};
      response.writeHead(200, id).end(JSON.stringify(body));
    });

  test.each(Object.keys(encodings))('stores no echo in login, status and request id: %s', async (name) => {
    const encoded = encodings[name]?.(real) ?? '';
    const good = '00ub0oNGTSWTBKOLGLNR';
    for (const login of [encoded, `${encoded}@example.com`, `a@${encoded}.com`, `a@${encoded}`]) {
      const handler = withRequestId(encoded, { id: good, status: encoded, profile: { login } });
      expect(await verifyAgainst(handler, { apiToken: real })).toEqual({
        status: 'VERIFIED',
        account: { id: good, login: null, status: null },
        upstreamRequestId: null,
      });
    }
  });

  test.each(Object.keys(encodings))('is not taken for Okta when it echoes in the id: %s', async (name) => {
    const encoded = encodings[name]?.(real) ?? '';
    for (const id of [encoded, `00u${encoded}`, encoded.slice(0, 20)]) {
      const handler = withRequestId('', { id, profile: { login: `${real.slice(20)}@example.com` } });
      expect(await verifyAgainst(handler, { apiToken: real })).toMatchObject(
        notOkta('the response does not describe an Okta user'),
      );
    }
  });

  test('stores no echo of a short token in the form of an id, a login or a request id', async () => {
    for (const [apiToken, answer, kept] of [
      ['short-token-0123', { profile: { login: 'short-token-0123@example.com' } }, { login: null }],
      ['short-token-0123', { profile: { login: 'ada@short-token-0123.com' } }, { login: null }],
    ] as const) {
      const diagnosis = await verifyAgainst(okta.answering(answer), { apiToken });
      expect(diagnosis).toMatchObject({ status: 'VERIFIED', account: kept });
    }
    const echo = withRequestId('short-token-0123', { id: '00ub0oNGTSWTBKOLGLNR' });
    expect(await verifyAgainst(echo, { apiToken: 'short-token-0123' })).toHaveProperty(
      'upstreamRequestId',
      null,
    );
    const asId = okta.answering({ id: '00ushorttoken0123456' });
    expect(await verifyAgainst(asId, { apiToken: '00ushorttoken0123456' })).toMatchObject(
      notOkta('does not describe an Okta user'),
    );
  });

  test.each(['a'.repeat(37), 'a'.repeat(15), 'a b', 'a"b', 'ü', `${'a'.repeat(20)}.`, `${'a'.repeat(20)}%`])(
    'drops the request id %j',
    async (id) => {
      const handler: okta.Behaviour = (_, response) =>
        void response.writeHead(503, { 'x-okta-request-id': Buffer.from(id).toString('latin1') }).end();
      expect(await verifyAgainst(handler)).toHaveProperty('upstreamRequestId', null);
    },
  );
});

describe('diagnosis of any response', () => {
  test("is a diagnosis, and rejects the token only for Okta's own 401 and 403", async () => {
    const here = await startOkta();
    const settings = { trustedHosts: new Set([here.hostPort]) };
    const status = fc.oneof(fc.constantFrom(200, 401, 403, 429), fc.integer({ min: 200, max: 599 }));
    const body = fc.oneof(fc.json(), fc.string({ unit: 'binary' }), fc.constant('{"errorCode":"E0000011"}'));
    await fc.assert(
      fc.asyncProperty(status, body, async (code, text) => {
        here.behave(okta.withToken((_, response) => void response.writeHead(code).end(text)));
        const diagnosis = await verify(here.origin, settings);
        const isTokenRejected = 'code' in diagnosis && /CREDENTIALS|PERMISSIONS/.test(diagnosis.code);
        expect(isTokenRejected).toBe((code === 401 || code === 403) && text.includes('E0000011'));
      }),
      { numRuns: 75 * times },
    );
  });

  test('is not awaited when the caller has disconnected', async () => {
    const controller = new AbortController();
    const here = await startOkta({ handler: () => controller.abort() });
    const verification = verify(here.origin, {
      trustedHosts: new Set([here.hostPort]),
      signal: controller.signal,
    });
    await expect(verification).rejects.toThrow(OutboundError);
  });
});

describe('fake Okta', () => {
  test.each([
    ['anything', 'VERIFIED', undefined],
    ['<YOUR-API-TOKEN>', 'VERIFIED', undefined],
    ['revoked-1', 'REJECTED', 'CREDENTIALS_REJECTED'],
    ['weak-1', 'REJECTED', 'INSUFFICIENT_PERMISSIONS'],
    ['limited-1', 'UNREACHABLE', 'UPSTREAM_RATE_LIMITED'],
    ['broken-1', 'UNREACHABLE', 'UPSTREAM_UNREACHABLE'],
  ])('accepts %s: %s', async (apiToken, status, code) => {
    const fakeOkta = await startFakeOkta();
    onTestFinished(fakeOkta.close);
    const originOverrides = new Map([['https://example.okta.com', fakeOkta.url]]);
    const diagnosis = await verify('https://example.okta.com', {
      originOverrides: originOverrides,
      apiToken,
    });
    expect(diagnosis.status).toBe(status);
    expect('code' in diagnosis ? diagnosis.code : undefined).toBe(code);
    if (code === 'UPSTREAM_RATE_LIMITED') expect(diagnosis).toHaveProperty('retryAt', expect.any(Date));
  });

  test.each([
    ['/api/v1/users/me', undefined, 401, 'E0000011'],
    ['/api/v1/users/me', 'SSWS ', 401, 'E0000011'],
    ['/api/v1/users/me', 'Bearer abc', 401, 'E0000011'],
    ['/api/v1/policies', 'SSWS abc', 404, 'E0000007'],
    ['/', undefined, 404, 'E0000007'],
  ])('answers %s with %s like Okta', async (path, authorization, status, errorCode) => {
    const fakeOkta = await startFakeOkta();
    onTestFinished(fakeOkta.close);
    const outbound = createOutbound({ trustedHosts: new Set([new URL(fakeOkta.url).host]) });
    onTestFinished(() => outbound.close());
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const answer = await outbound.get(new URL(path, fakeOkta.url), { headers });
    expect(answer.status).toBe(status);
    expect(answer.headers).toHaveProperty('x-okta-request-id');
    expect(JSON.parse(answer.body)).toEqual({
      errorCode,
      errorSummary: expect.any(String),
      errorLink: errorCode,
      errorId: expect.any(String),
      errorCauses: [],
    });
  });

  test.each([
    ['/api/v1/users?limit=1', [{ profile: { login: 'ada.admin@example.com' } }]],
    ['/api/v1/groups?limit=1&after=1', [{ profile: { name: 'Engineering' } }]],
  ])('has users and groups to try requests through connections with: %s', async (path, body) => {
    const fakeOkta = await startFakeOkta();
    onTestFinished(fakeOkta.close);
    const outbound = createOutbound({ trustedHosts: new Set([new URL(fakeOkta.url).host]) });
    onTestFinished(() => outbound.close());
    const answer = await outbound.get(new URL(path, fakeOkta.url), {
      headers: { authorization: 'SSWS abc' },
    });
    expect(JSON.parse(answer.body)).toMatchObject(body);
  });
});
