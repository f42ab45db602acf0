import { randomUUID } from 'node:crypto';
import type { OutgoingHttpHeaders } from 'node:http';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as okta from './testkit/okta.ts';
import type { ServiceApp } from './testkit/okta-service-apps.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const tokenPath = '/oauth2/v1/token';
const scopes = ['okta.groups.read', 'okta.users.read'];
let standIn: OktaStandIn;
let host: okta.TestOkta;
let server: TestServer;
let organisation: TestOrganisation;

beforeAll(async () => {
  standIn = await startOktaStandIn();
  host = await okta.startOkta();
  server = await startTestServer({
    outbound: { timeoutMs: 2_000 },
    config: { trustedInstanceHosts: new Set([standIn.hostPort, host.hostPort]) },
  });
  organisation = await server.newOrganisation();
});
afterAll(async () => {
  await server.close();
  await host.close();
  await standIn[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await standIn.setClockAhead(0);
  await standIn.takeJournal();
});

const create = `mutation ($input: CreateOktaConnectionInput!) {
  createOktaConnection(input: $input) {
    appConnection { id credentials { ... on OktaServiceAppCredentials { keys { keyId publicJwk } } } }
  }
}`;
const verify = `mutation ($id: UUID!) {
  verifyAppConnection(id: $id) {
    appConnection {
      verification {
        status code message remedy
        details {
          warnings { message }
          ... on OktaServiceAppDetails {
            organisation { id name } scopes usesDpop hasAdminRole roles { type } clockDifferenceSeconds
          }
        }
      }
    }
  }
}`;

interface Verification {
  status: string;
  code: string | null;
  message: string | null;
  remedy: string | null;
  details: { warnings: { message: string }[]; [field: string]: unknown } | null;
}

let count = 0;
/** Creates a connection of which this server makes the key. */
async function connect({ instanceUrl = standIn.origin, asked = scopes } = {}) {
  count += 1;
  const clientId = `0oa${String(count).padStart(17, '0')}`;
  const { createOktaConnection } = await organisation.client.request<{
    createOktaConnection: {
      appConnection: { id: string; credentials: { keys: { keyId: string; publicJwk: object }[] } };
    };
  }>(create, {
    input: {
      name: `service-app-${count}`,
      method: 'SERVICE_APP',
      credentials: { instanceUrl, clientId, scopes: asked },
    },
  });
  const { id, credentials } = createOktaConnection.appConnection;
  const [key] = credentials.keys;
  if (!key) throw new Error('the connection has no key');
  return { id, clientId, key };
}

/** Creates a connection, and a service app in Okta that has its key. */
async function connectApp(app: Partial<ServiceApp> = {}, asked = scopes) {
  const connection = await connect({ asked });
  const { clientId, key } = connection;
  await standIn.setServiceApp({ clientId, scopes, keys: [key.publicJwk], ...app });
  return connection;
}

async function check(id: string): Promise<Verification> {
  const { verifyAppConnection } = await organisation.client.request<{
    verifyAppConnection: { appConnection: { verification: Verification } };
  }>(verify, { id });
  return verifyAppConnection.appConnection.verification;
}

describe('the verification of a service app', () => {
  it.each([true, false])(
    'tells whether access tokens need a proof of possession: %s',
    async (requiresDpop) => {
      const { id } = await connectApp({ requiresDpop });
      expect(await check(id)).toMatchObject({
        status: 'VERIFIED',
        code: null,
        details: {
          organisation: { id: '00o5rb5mt2H3d1TJd0h7' },
          ...{ scopes, usesDpop: requiresDpop, hasAdminRole: true, clockDifferenceSeconds: 0, warnings: [] },
        },
      });
    },
  );

  it('sends nothing secret to a host that is not an Okta organisation', async () => {
    const { id } = await connect({ instanceUrl: host.origin });
    host.behave(okta.notJson());
    const before = host.requests.length;
    expect(await check(id)).toMatchObject({ status: 'REJECTED', code: 'NOT_AN_OKTA_ORG' });
    expect(host.requests.slice(before).map(({ path }) => path)).toEqual([okta.wellKnown]);
  });

  it('names a client that Okta does not know', async () => {
    const { id } = await connect();
    expect(await check(id)).toMatchObject({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      message: 'Okta knows no app with this client id.',
    });
  });

  it.each<[string, okta.Behaviour]>([
    ['404', text('{}', 404)],
    ['a page', text('<html></html>', 200, { 'content-type': 'text/html' })],
    ['no metadata', text('{}')],
    ['half of the metadata', text('{"issuer":"https://example.okta.com"}')],
    [
      'the metadata of another server',
      text('{"issuer":"https://a.example","token_endpoint":"https://a.example/oauth2/default/v1/token"}'),
    ],
    ['another error', text('{"errorCode":"E0000003"}', 400)],
  ])('names the key if Okta does not tell whether it knows the client: %s', async (_, behaviour) => {
    const { id, clientId, key } = await connect({ instanceUrl: host.origin });
    host.behave(
      okta.behavingAt({
        [tokenPath]: text('{"error":"invalid_client"}', 401),
        [`/.well-known/openid-configuration?client_id=${clientId}`]: behaviour,
      }),
    );
    expect(await check(id)).toMatchObject({
      code: 'CREDENTIALS_REJECTED',
      message: expect.stringContaining(`or the app does not have the key ${key.keyId} of this connection`),
    });
  });

  it.each([
    ['that has no key', []],
    ['that has another key', [{ kty: 'EC', crv: 'P-256', kid: 'another', x: 'AA', y: 'AA' }]],
  ])('names the key that Okta does not know of an app %s', async (_, keys) => {
    const { id, key } = await connectApp({ keys });
    expect(await check(id)).toMatchObject({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      message: `Okta knows the app, but does not accept the key ${key.keyId} of this connection.`,
      remedy: expect.stringContaining('Use a URL to fetch keys dynamically'),
    });
  });

  it('names each scope that is not granted, and no other', async () => {
    const asked = [...scopes, 'okta.apps.read', 'okta.logs.read', 'okta.policies.manage'];
    const { id } = await connectApp({ scopes: [...scopes, 'okta.logs.read'] }, asked);
    const { code, message } = await check(id);
    expect(code).toBe('INSUFFICIENT_PERMISSIONS');
    expect(message).toContain('not granted to the app: okta.apps.read, okta.policies.manage.');
    expect(message).not.toMatch(/okta\.(users|groups|logs)\.read/);
  });

  it.each([
    ['may read users, of which Okta shows it none', ['okta.users.read']],
    ['may read groups, which Okta refuses', ['okta.groups.read']],
  ])('says that an app has no admin role which %s', async (_, asked) => {
    const { id } = await connectApp({ hasRole: false }, asked);
    expect(await check(id)).toMatchObject({
      status: 'REJECTED',
      code: 'INSUFFICIENT_PERMISSIONS',
      message: expect.stringContaining('has no admin role'),
      remedy: expect.stringContaining('“Admin roles”'),
    });
  });

  it('does not reject an app of which its scopes do not tell whether it has an admin role', async () => {
    const asked = ['okta.policies.read'];
    const { id } = await connectApp({ hasRole: false, scopes: asked }, asked);
    expect(await check(id)).toMatchObject({ status: 'VERIFIED', details: { hasAdminRole: null } });
  });

  it('warns of a clock that differs by more than 30 seconds', async () => {
    const { id } = await connectApp();
    await standIn.setClockAhead(120_000);
    const { status, details } = await check(id);
    expect(status).toBe('VERIFIED');
    expect(details?.warnings[0]?.message).toMatch(/clock of this server is 1(19|20|21) seconds behind/);
  });

  it('names a clock that makes Okta refuse the client', async () => {
    const { id } = await connectApp();
    await standIn.setClockAhead(3_600_000);
    expect(await check(id)).toMatchObject({
      code: 'CREDENTIALS_REJECTED',
      message: expect.stringMatching(/clock of this server is 3\d{3} seconds behind/),
    });
  });

  it.each([
    ['access_denied', 400, 'INSUFFICIENT_PERMISSIONS', /denies the access token/],
    ['unauthorized_client', 400, 'INSUFFICIENT_PERMISSIONS', /by itself/],
    ['unsupported_grant_type', 400, 'INSUFFICIENT_PERMISSIONS', /client credentials/],
    ['invalid_request', 400, 'CREDENTIALS_REJECTED', /form of the token request/],
    ['invalid_dpop_proof', 400, 'CREDENTIALS_REJECTED', /proof of possession/],
    ['use_dpop_nonce', 400, 'CREDENTIALS_REJECTED', /nonce/],
    ['server_error', 500, 'UPSTREAM_UNREACHABLE', /The service app was not verified/],
    ['temporarily_unavailable', 429, 'UPSTREAM_RATE_LIMITED', /The service app was not verified/],
    ['a_new_error', 400, 'CREDENTIALS_REJECTED', /an error that this server does not know/],
  ])('interprets the error %s of the token endpoint', async (error, status, code, message) => {
    const { id } = await connectApp();
    const description = 'eyJ.the-assertion-of-the-request';
    await standIn.answerNext(tokenPath, { status, content: { error, error_description: description } });
    const found = await check(id);
    expect(found).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(JSON.stringify(found)).not.toContain(description);
  });

  it('is an outage if the token endpoint does not answer', async () => {
    const { id } = await connectApp();
    await standIn.answerNext(tokenPath, { status: 0 }, { status: 0 });
    expect(await check(id)).toMatchObject({ status: 'UNREACHABLE', code: 'UPSTREAM_UNREACHABLE' });
  });

  it('is rejected if the token endpoint is not that of Okta', async () => {
    const { id } = await connectApp();
    await standIn.answerNext(tokenPath, { status: 200, content: '<!doctype html>' });
    expect(await check(id)).toMatchObject({ status: 'REJECTED', code: 'NOT_AN_OKTA_ORG' });
  });
});

describe('the verification of a service app whose access tokens the API does not accept', () => {
  const bearer = { access_token: 'a-token', token_type: 'Bearer', expires_in: 3_600 };
  const invalid = '{"errorCode":"E0000011","errorSummary":"Invalid token provided"}';

  it.each([
    ['does not say why', 401, bearer, {}, /its API does not accept them/],
    [
      'asks for DPoP',
      401,
      bearer,
      { 'www-authenticate': 'DPoP algs="ES256"' },
      /asks for a proof of possession/,
    ],
    [
      'asks for a nonce',
      401,
      bearer,
      { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'a-nonce' },
      /asks for a proof of possession/,
    ],
    [
      'refuses each proof',
      401,
      { ...bearer, token_type: 'DPoP' },
      { 'www-authenticate': 'DPoP error="invalid_dpop_proof"' },
      /its API does not accept them/,
    ],
    [
      'refuses each proof as Okta does',
      400,
      { ...bearer, token_type: 'DPoP' },
      { 'www-authenticate': 'DPoP realm="x", error="invalid_dpop_proof"' },
      /its API refuses the proofs of possession/,
    ],
    [
      'refuses each nonce that it has given',
      400,
      { ...bearer, token_type: 'DPoP' },
      { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'a-nonce' },
      /its API refuses the proofs of possession/,
    ],
  ])('is rejected if the API %s with status %i', async (_, status, token, headers, message) => {
    const { id } = await connect({ instanceUrl: host.origin });
    host.behave(
      okta.behavingAt({
        [tokenPath]: okta.json(token),
        '/api/v1/users?limit=1': text(invalid, status, headers),
        '/api/v1/groups?limit=1': text(invalid, status, headers),
      }),
    );
    expect(await check(id)).toMatchObject({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      message: expect.stringMatching(message),
    });
  });

  it.each([
    ['twice', ['one', 'one']],
    ['and another', ['another', 'one']],
  ])('is not rejected if a nonce comes %s in a response', async (_, nonces) => {
    const { id } = await connect({ instanceUrl: host.origin });
    const asking =
      (answer: okta.Behaviour): okta.Behaviour =>
      (request, response) => {
        const { nonce } = decodeJwt(String(request.headers.dpop));
        const headers = { 'dpop-nonce': nonces, 'www-authenticate': 'DPoP error="use_dpop_nonce"' };
        const ask = text('{"error":"use_dpop_nonce"}', 400, headers);
        (nonce === 'one' ? answer : ask)(request, response);
      };
    host.behave(
      okta.behavingAt({
        [tokenPath]: asking(okta.json({ ...bearer, token_type: 'DPoP' })),
        '/api/v1/users?limit=1': asking(okta.json([{ id: '00ub0oNGTSWTBKOLGLNR' }])),
      }),
    );
    expect(await check(id)).toMatchObject({ status: 'VERIFIED', details: { hasAdminRole: true } });
  });

  it('is not rejected because of one path', async () => {
    const { id } = await connect({ instanceUrl: host.origin });
    host.behave(
      okta.behavingAt({
        [tokenPath]: okta.json(bearer),
        '/api/v1/users?limit=1': text(invalid, 401),
        '/api/v1/groups?limit=1': okta.json([]),
      }),
    );
    expect(await check(id)).toMatchObject({ status: 'VERIFIED', details: { hasAdminRole: true } });
  });
});

describe('the name of the organisation in the verification of a service app', () => {
  const usersPath = '/api/v1/users?limit=1';
  const organisationPath = '/api/v1/org';
  // The second request for the role would be that for groups.
  const asked = ['okta.groups.read', 'okta.orgs.read', 'okta.users.read'];
  const answers = {
    [tokenPath]: okta.json({ access_token: 'a-token', token_type: 'Bearer', expires_in: 3_600 }),
  };

  it('is asked for at the same time as the admin role', async () => {
    const { id } = await connect({ instanceUrl: host.origin, asked });
    const both = Promise.withResolvers<void>();
    const arrived = new Set<string>();
    const together =
      (path: string, content: unknown): okta.Behaviour =>
      async (request, response) => {
        arrived.add(path);
        if (arrived.size === 2) both.resolve();
        await both.promise;
        okta.json(content)(request, response);
      };
    host.behave(
      okta.behavingAt({
        ...answers,
        [usersPath]: together(usersPath, [{}]),
        [organisationPath]: together(organisationPath, { companyName: 'Acme' }),
      }),
    );
    expect(await check(id)).toMatchObject({
      status: 'VERIFIED',
      details: { organisation: { name: 'Acme' }, hasAdminRole: true },
    });
  });

  it.each<[string, okta.Behaviour]>([
    ['never comes', okta.slowHeaders],
    ['is refused', okta.insufficientRole],
    ['comes from a host that is not Okta', okta.notJson()],
  ])('changes nothing about the diagnosis if it %s', async (_, behaviour) => {
    const { id } = await connect({ instanceUrl: host.origin, asked });
    const behaveWith = (users: object[]) =>
      host.behave(
        okta.behavingAt({ ...answers, [usersPath]: okta.json(users), [organisationPath]: behaviour }),
      );
    behaveWith([]);
    expect(await check(id)).toMatchObject({
      status: 'REJECTED',
      code: 'INSUFFICIENT_PERMISSIONS',
      message: expect.stringContaining('has no admin role'),
    });
    behaveWith([{}]);
    expect(await check(id)).toMatchObject({
      status: 'VERIFIED',
      details: { organisation: { name: null }, hasAdminRole: true },
    });
  });
});

const planted = 'eyJhbGciOiJub25lIn0.planted-access-token';
const token = { access_token: planted, token_type: 'Bearer', expires_in: 3_600 };

/** A response with any text as its body. */
const text =
  (body: string, status = 200, headers: OutgoingHttpHeaders = {}): okta.Behaviour =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
  };
/** The JSON of a token response, with members as they are written. */
const tokenWith = (members: string) => text(`{"access_token":"${planted}","token_type":"Bearer",${members}}`);
/** Bytes that node's server would refuse to send. */
const raw =
  (lines: string[], body = ''): okta.Behaviour =>
  (_, response) => {
    response.socket?.end(['HTTP/1.1 400 Bad Request', ...lines, '', body].join('\r\n'));
  };
const askForNonce = (nonce: () => string | string[]) =>
  ((request, response) =>
    text('{"error":"use_dpop_nonce"}', 400, { 'dpop-nonce': nonce() })(request, response)) as okta.Behaviour;
const nested = (depth: number) => `${'{"a":['.repeat(depth)}1${']}'.repeat(depth)}`;

/** Responses that neither endpoint may give, with the code that each leads to. */
const hostile: [string, okta.Behaviour, string][] = [
  ['a body without an end', okta.endlessBody, 'NOT_AN_OKTA_ORG'],
  ['a body of 10 MB', text('x'.repeat(10_000_000)), 'NOT_AN_OKTA_ORG'],
  ['a body of single bytes', okta.slowBody, 'UPSTREAM_UNREACHABLE'],
  ['no response', okta.slowHeaders, 'UPSTREAM_UNREACHABLE'],
  ['a redirect to a private address', okta.redirect('http://169.254.169.254/'), 'NOT_AN_OKTA_ORG'],
  ['JSON that is nested 1,000 levels deep', text(nested(1_000)), 'NOT_AN_OKTA_ORG'],
  ['brackets that do not end', text('['.repeat(16_000)), 'NOT_AN_OKTA_ORG'],
  ['JSON with many tokens', text(`[${'1,'.repeat(8_000)}1]`), 'NOT_AN_OKTA_ORG'],
  ['an image', text('\u0089PNG', 200, { 'content-type': 'image/png' }), 'NOT_AN_OKTA_ORG'],
  ['JSON that is no object', text('null'), 'NOT_AN_OKTA_ORG'],
  ['members of prototypes', text('{"__proto__":{"id":"00o1","access_token":"x"}}'), 'NOT_AN_OKTA_ORG'],
];

const metadataPath = '/.well-known/okta-organization';
const cases: [string, string, okta.Behaviour, string | null][] = [
  ...[metadataPath, tokenPath].flatMap((path) =>
    hostile.map(([what, behaviour, code]): (typeof cases)[number] => [what, path, behaviour, code]),
  ),
  ['an id with a line break', metadataPath, text('{"id":"00o1ab\\n"}'), 'NOT_AN_OKTA_ORG'],
  ['an id of 10,000 letters', metadataPath, text(`{"id":"00o${'a'.repeat(10_000)}"}`), 'NOT_AN_OKTA_ORG'],
  [
    'a token with control characters',
    tokenPath,
    text(JSON.stringify({ ...token, access_token: 'a\u0000\r\nb' })),
    'NOT_AN_OKTA_ORG',
  ],
  [
    'a token with characters beyond ASCII',
    tokenPath,
    text(JSON.stringify({ ...token, access_token: 'a\u202eb' })),
    'NOT_AN_OKTA_ORG',
  ],
  [
    'a token of 1 MB',
    tokenPath,
    text(JSON.stringify({ ...token, access_token: 'a'.repeat(1_000_000) })),
    'NOT_AN_OKTA_ORG',
  ],
  [
    'a token of 10,000 characters',
    tokenPath,
    text(JSON.stringify({ ...token, access_token: 'a'.repeat(10_000) })),
    'NOT_AN_OKTA_ORG',
  ],
  ['an empty token', tokenPath, text(JSON.stringify({ ...token, access_token: '' })), 'NOT_AN_OKTA_ORG'],
  [
    'a token that is an object',
    tokenPath,
    text(JSON.stringify({ ...token, access_token: token })),
    'NOT_AN_OKTA_ORG',
  ],
  [
    'a token of another type',
    tokenPath,
    text(JSON.stringify({ ...token, token_type: 'mac' })),
    'NOT_AN_OKTA_ORG',
  ],
  ['a scope that is a list', tokenPath, tokenWith('"scope":["okta.users.read"]'), 'NOT_AN_OKTA_ORG'],
  [
    'a scope that repeats the token',
    tokenPath,
    tokenWith(`"scope":"${planted}"`),
    'INSUFFICIENT_PERMISSIONS',
  ],
  ...['-1', '0', '1e400', '"NaN"', '"soon"', 'null', '{}', '[]', '1e-9'].map(
    (lifetime): (typeof cases)[number] => [
      `a lifetime of ${lifetime}`,
      tokenPath,
      tokenWith(`"expires_in":${lifetime}`),
      null,
    ],
  ),
  ...['1e300', '"3600"', '9007199254740993'].map((lifetime): (typeof cases)[number] => [
    `a lifetime of ${lifetime}`,
    tokenPath,
    tokenWith(`"expires_in":${lifetime}`),
    null,
  ]),
  [
    'a right token as a web page',
    tokenPath,
    text(JSON.stringify(token), 200, { 'content-type': 'text/html' }),
    null,
  ],
  ['a new nonce each time', tokenPath, askForNonce(() => `planted-${randomUUID()}`), 'CREDENTIALS_REJECTED'],
  ['the same nonce each time', tokenPath, askForNonce(() => 'planted'), 'CREDENTIALS_REJECTED'],
  ['a nonce of 5,000 characters', tokenPath, askForNonce(() => 'n'.repeat(5_000)), 'CREDENTIALS_REJECTED'],
  ['two nonces', tokenPath, askForNonce(() => ['planted-a', 'planted-b']), 'CREDENTIALS_REJECTED'],
  [
    'a nonce that goes on in another line',
    tokenPath,
    raw(['dpop-nonce: planted', ' more: planted', 'content-length: 26'], '{"error":"use_dpop_nonce"}'),
    'NOT_AN_OKTA_ORG',
  ],
  [
    'a nonce with a carriage return',
    tokenPath,
    raw(['dpop-nonce: planted\rx: y', 'content-length: 26'], '{"error":"use_dpop_nonce"}'),
    'NOT_AN_OKTA_ORG',
  ],
];

describe('the verification of a service app at a hostile host', () => {
  it.each(cases)('ends with a diagnosis: %s at %s', async (_, path, behaviour, code) => {
    const { id } = await connect({ instanceUrl: host.origin });
    const accepting = { [tokenPath]: text(JSON.stringify(token)), '/api/v1/users?limit=1': text('[{}]') };
    host.behave(okta.behavingAt({ ...accepting, [path]: behaviour }));
    const before = host.requests.length;
    const found = await check(id);
    expect(found.code).toBe(code);
    expect(found.status).not.toBe('PENDING');
    const { message, remedy, details } = found;
    expect(JSON.stringify({ message, remedy, details })).not.toContain('planted');
    const paths = host.requests.slice(before).map((request) => request.path);
    const asked = paths.filter((each) => each === tokenPath).length;
    if (path === metadataPath) expect(paths).toEqual([metadataPath]);
    else expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThan(4);
    expect(server.logs()).not.toContain('planted');
    host.behave(okta.behavingAt(accepting));
    expect(await check(id)).toMatchObject({ status: 'VERIFIED' });
  });
});
