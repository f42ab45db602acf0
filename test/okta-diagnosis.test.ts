import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { startOktaStandIn } from '../src/apps/okta/stand-in.ts';
import { createOutbound, type Lookup, type OutboundSettings } from '../src/outbound/outbound.ts';
import { OutboundError } from '../src/outbound/outbound-error.ts';
import { Secret } from '../src/secrets/secret.ts';
import { makeCertificates, trust } from './testkit/certificates.ts';
import * as okta from './testkit/okta.ts';

const token = '00Canary_7f3A-token.value~42';

const method = createApps({ trustedHosts: new Set() })[0]?.methods[0];

/** Verifies a token as a connection would, against any origin. */
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
  const diagnosis = await method.verify(credentials, outbound, signal);
  expect(new Secret(apiToken).isIn(JSON.stringify(diagnosis))).toBe(false);
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

/** Verifies against an Okta that behaves in some way. */
async function verifyAgainst(handler: okta.Behaviour | undefined, settings: Partial<OutboundSettings> = {}) {
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

describe('a token that works', () => {
  test('is verified, with its owner and the id of the request', async () => {
    const here = await startOkta();
    expect(await verify(here.origin, { trustedHosts: new Set([here.hostPort]) })).toEqual({
      status: 'VERIFIED',
      account: { id: '00ub0oNGTSWTBKOLGLNR', login: 'ada.admin@example.com', status: 'ACTIVE' },
      upstreamRequestId: requestId,
    });
    expect(here.requests).toHaveLength(1);
    expect(here.requests[0]).toMatchObject({
      method: 'GET',
      path: '/api/v1/users/me',
      headers: {
        authorization: `SSWS ${token}`,
        accept: 'application/json',
        'user-agent': 'app-connections',
      },
    });
  });

  test('over TLS', async () => {
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
  ])('login and status may be absent: %j', async (changes) => {
    expect(await verifyAgainst(okta.answering(changes))).toMatchObject({
      status: 'VERIFIED',
      account: { id: '00ub0oNGTSWTBKOLGLNR', login: null, status: null },
    });
  });

  test('what a database cannot hold is taken out of the owner', async () => {
    const handler = okta.answering({
      id: '00u\u0000\n1\u0085',
      status: '\ud800',
      profile: { login: `${'é'.repeat(255)}😀!` },
    });
    expect(await verifyAgainst(handler)).toHaveProperty('account', {
      id: '00u1',
      login: 'é'.repeat(255),
      status: null,
    });
  });
});

describe('answers of Okta that refuse', () => {
  test('token rejected', async () => {
    expect(await verifyAgainst(okta.tokenRejected)).toEqual({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      message: 'Okta says that the API token is invalid, expired or revoked.',
      remedy: expect.stringMatching(/Security > API > Tokens.*30 days.*“Any IP”/),
      upstreamRequestId: requestId,
    });
  });

  test('role too weak', async () => {
    expect(await verifyAgainst(okta.weakRole)).toEqual({
      status: 'REJECTED',
      code: 'INSUFFICIENT_PERMISSIONS',
      message: expect.stringContaining('The API token works'),
      remedy: expect.stringMatching(/admin role.*Security > API > Tokens.*“Any IP”/),
      upstreamRequestId: requestId,
    });
  });

  test('rate limited, with the time it resets', async () => {
    const retryAt = new Date(Math.ceil(Date.now() / 1000) * 1000 + 45_000);
    expect(await verifyAgainst(okta.rateLimited(retryAt))).toEqual({
      status: 'UNREACHABLE',
      code: 'UPSTREAM_RATE_LIMITED',
      message: `Okta asks us to slow down until ${retryAt.toISOString()}. The API token was not judged.`,
      remedy: expect.stringContaining(`Try again after ${retryAt.toISOString()}.`),
      retryAt,
      upstreamRequestId: requestId,
    });
  });

  const limitedWith =
    (headers: Record<string, string>): okta.Behaviour =>
    (_, response) =>
      void response.writeHead(429, headers).end();

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
  ])('rate limited without a time to believe: %j', async (headers) => {
    const diagnosis = await verifyAgainst(limitedWith(headers));
    expect(diagnosis).toMatchObject({
      status: 'UNREACHABLE',
      code: 'UPSTREAM_RATE_LIMITED',
      message: 'Okta asks us to slow down. The API token was not judged.',
    });
    expect(diagnosis).not.toHaveProperty('retryAt');
  });

  test('rate limited by something that only knows Retry-After', async () => {
    const date = new Date(Math.ceil(Date.now() / 1000) * 1000 + 90_000);
    expect(await verifyAgainst(limitedWith({ 'retry-after': date.toUTCString() }))).toHaveProperty(
      'retryAt',
      date,
    );
    const seconds = { 'x-rate-limit-reset': '0', 'retry-after': '3600' };
    expect(await verifyAgainst(limitedWith(seconds))).toHaveProperty('retryAt', expect.any(Date));
  });
});

describe('outages are not called bad tokens', () => {
  test.each([500, 502, 503, 504, 599])('status %i', async (status) => {
    expect(await verifyAgainst(okta.failing(status))).toMatchObject({
      status: 'UNREACHABLE',
      code: 'UPSTREAM_UNREACHABLE',
      message: expect.stringContaining(`status ${status}`),
      remedy: expect.stringContaining('https://status.okta.com'),
    });
  });

  test('slow headers', async () => {
    const diagnosis = await verifyAgainst(okta.slowHeaders, { timeoutMs: 100 });
    expect(diagnosis).toMatchObject(unreachable('nothing answered within 0.1 s'));
  });

  test('slow body', async () => {
    const diagnosis = await verifyAgainst(okta.slowBody, { timeoutMs: 100 });
    expect(diagnosis).toMatchObject(unreachable('the answer was not complete within 0.1 s'));
  });

  test('the connection is closed', async () => {
    expect(await verifyAgainst(okta.closesConnection)).toMatchObject(
      unreachable('the connection was closed'),
    );
  });

  test('connection refused', async () => {
    const here = await startOkta();
    await here.close();
    const diagnosis = await verify(here.origin, { trustedHosts: new Set([here.hostPort]) });
    expect(diagnosis).toMatchObject(unreachable('the connection was refused'));
  });

  const failing =
    (code: string): Lookup =>
    () =>
      Promise.reject(Object.assign(new Error(code), { code }));

  test('unknown host', async () => {
    const diagnosis = await verify('https://acme.okta.test', { lookup: failing('ENOTFOUND') });
    expect(diagnosis).toMatchObject(unreachable('the host name does not exist'));
    expect(diagnosis).toHaveProperty('remedy', 'Check the spelling of the instance URL.');
  });

  test('a resolver that fails', async () => {
    const diagnosis = await verify('https://acme.okta.test', { lookup: failing('EAI_AGAIN') });
    expect(diagnosis).toMatchObject(unreachable('the host name could not be looked up'));
  });

  test.each([
    ['expired', 'the certificate has expired'],
    ['selfSigned', 'the certificate is self-signed'],
    ['wrongHost', 'the certificate is for another host name'],
  ] as const)('a certificate that is %s', async (name, message) => {
    const certificates = await makeCertificates();
    using _ = trust(certificates.ca);
    const here = await startOkta({ tls: certificates[name] });
    const diagnosis = await verify(here.origin, { trustedHosts: new Set([here.hostPort]) });
    expect(diagnosis).toMatchObject(unreachable(message));
    expect(here.requests).toEqual([]);
  });

  test('a certificate by an authority that nobody trusts', async () => {
    const { good } = await makeCertificates();
    const here = await startOkta({ tls: good });
    const diagnosis = await verify(here.origin, { trustedHosts: new Set([here.hostPort]) });
    expect(diagnosis).toMatchObject(unreachable('not signed by an authority that this server trusts'));
    expect(here.requests).toEqual([]);
  });
});

describe('other people’s servers', () => {
  test.each([
    ['not JSON', okta.notJson(), 'the answer is not JSON'],
    ['not Okta', okta.notOkta(), 'the answer does not describe an Okta user'],
    ['an id that is no text', okta.answering({ id: 5 }), 'does not describe an Okta user'],
    ['an id without a visible character', okta.answering({ id: '\u0000' }), 'does not describe an Okta user'],
    ['401 that is not Okta’s', okta.notOkta(401), 'status 401'],
    ['403 that is not JSON', okta.notJson(403), 'status 403'],
    ['404', okta.notOkta(404), 'status 404'],
    ['204', okta.notOkta(204), 'status 204'],
    ['a redirect', okta.redirect('https://acme.okta.com/login'), 'it sends us elsewhere (status 302)'],
    ['an endless body', okta.endlessBody, 'larger than 65536 bytes'],
    ['no HTTP', okta.garbage, 'the answer is not HTTP'],
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
  ])('401 with %s says nothing about the token', async (body) => {
    const handler: okta.Behaviour = (_, response) => void response.writeHead(401).end(body);
    expect(await verifyAgainst(handler)).toMatchObject(notOkta('status 401'));
  });

  test('the token does not follow a redirect', async () => {
    const target = await startOkta();
    const here = await startOkta({ handler: okta.redirect(`${target.origin}/api/v1/users/me`) });
    await verify(here.origin, { trustedHosts: new Set([here.hostPort, target.hostPort]) });
    expect(target.requests).toEqual([]);
  });
});

describe('hosts that are not allowed', () => {
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

  test('a name that resolves to a private address', async () => {
    const lookup: Lookup = async () => [{ address: '10.0.0.1', family: 4 }];
    expect(await verify('https://acme.okta.test', { lookup })).toEqual(hostNotAllowed);
  });

  test('a name that resolves to a public address first and to this machine afterwards', async () => {
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

describe('a host that repeats the token', () => {
  const encodings: Record<string, (text: string) => string> = {
    raw: (text) => text,
    'upper case': (text) => text.toUpperCase(),
    base64: (text) => Buffer.from(text).toString('base64'),
    hex: (text) => Buffer.from(text).toString('hex'),
    'with NULs between': (text) => [...text].join('\u0000'),
    'cut off by the length limit': (text) => `${'x'.repeat(240)}${text}`,
  };

  test.each(Object.keys(encodings))('in login, status and request id, %s', async (name) => {
    const encode = encodings[name] ?? String;
    // A header cannot carry NUL.
    const handler = name.includes('NUL')
      ? okta.answering({ status: encode(token), profile: { login: encode(token) } })
      : okta.echoing(encode);
    expect(await verifyAgainst(handler)).toMatchObject({
      status: 'VERIFIED',
      account: { id: '00ub0oNGTSWTBKOLGLNR', login: null, status: null },
    });
  });

  test('in the request id', async () => {
    const here = await startOkta({ handler: okta.echoing() });
    const plain = { apiToken: '00CanaryWithoutDots', trustedHosts: new Set([here.hostPort]) };
    expect(await verify(here.origin, plain)).toHaveProperty('upstreamRequestId', null);
  });

  test('in the id: then it is not Okta', async () => {
    expect(await verifyAgainst(okta.echoingAsId)).toMatchObject(notOkta('does not describe an Okta user'));
  });

  test.each([`${'a'.repeat(65)}`, 'a b', 'a"b', 'ü'])('request id %j is not taken over', async (id) => {
    const handler: okta.Behaviour = (_, response) =>
      void response.writeHead(503, { 'x-okta-request-id': Buffer.from(id).toString('latin1') }).end();
    expect(await verifyAgainst(handler)).toHaveProperty('upstreamRequestId', null);
  });
});

describe('any answer', () => {
  test('leads to a diagnosis, and only Okta’s own 401 and 403 judge the token', async () => {
    const here = await startOkta();
    const settings = { trustedHosts: new Set([here.hostPort]) };
    const status = fc.oneof(fc.constantFrom(200, 401, 403, 429), fc.integer({ min: 200, max: 599 }));
    const body = fc.oneof(fc.json(), fc.string({ unit: 'binary' }), fc.constant('{"errorCode":"E0000011"}'));
    await fc.assert(
      fc.asyncProperty(status, body, async (code, text) => {
        here.behave((_, response) => void response.writeHead(code).end(text));
        const diagnosis = await verify(here.origin, settings);
        const judged = 'code' in diagnosis && /CREDENTIALS|PERMISSIONS/.test(diagnosis.code);
        expect(judged).toBe((code === 401 || code === 403) && text.includes('E0000011'));
      }),
      { numRuns: 150 },
    );
  });

  test('does not matter to a caller who gave up', async () => {
    const controller = new AbortController();
    const here = await startOkta({ handler: () => controller.abort() });
    const verification = verify(here.origin, {
      trustedHosts: new Set([here.hostPort]),
      signal: controller.signal,
    });
    await expect(verification).rejects.toThrow(OutboundError);
  });
});

describe('the stand-in', () => {
  test.each([
    ['anything', 'VERIFIED', undefined],
    ['<YOUR-API-TOKEN>', 'VERIFIED', undefined],
    ['revoked-1', 'REJECTED', 'CREDENTIALS_REJECTED'],
    ['weak-1', 'REJECTED', 'INSUFFICIENT_PERMISSIONS'],
    ['limited-1', 'UNREACHABLE', 'UPSTREAM_RATE_LIMITED'],
    ['broken-1', 'UNREACHABLE', 'UPSTREAM_UNREACHABLE'],
  ])('takes %s: %s', async (apiToken, status, code) => {
    const standIn = await startOktaStandIn();
    onTestFinished(standIn.close);
    const standIns = new Map([['https://example.okta.com', standIn.url]]);
    const diagnosis = await verify('https://example.okta.com', { standIns, apiToken });
    expect(diagnosis.status).toBe(status);
    expect('code' in diagnosis ? diagnosis.code : undefined).toBe(code);
    if (code === 'UPSTREAM_RATE_LIMITED') expect(diagnosis).toHaveProperty('retryAt', expect.any(Date));
  });

  test.each([
    ['/api/v1/users/me', undefined, 401, 'E0000011'],
    ['/api/v1/users/me', 'SSWS ', 401, 'E0000011'],
    ['/api/v1/users/me', 'Bearer abc', 401, 'E0000011'],
    ['/api/v1/groups', 'SSWS abc', 404, 'E0000007'],
    ['/', undefined, 404, 'E0000007'],
  ])('answers %s with %s as Okta does', async (path, authorization, status, errorCode) => {
    const standIn = await startOktaStandIn();
    onTestFinished(standIn.close);
    const outbound = createOutbound({ trustedHosts: new Set([new URL(standIn.url).host]) });
    onTestFinished(() => outbound.close());
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const answer = await outbound.get(new URL(path, standIn.url), { headers });
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
});
