import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { Secret } from '../src/common/secret.ts';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { administer, testDatabaseUrl } from './testkit/database.ts';
import {
  type Behaviour,
  behavingAt,
  echoing,
  echoingAsId,
  json,
  slowHeaders,
  startOkta,
  type TestOkta,
  tokenRejected,
  withToken,
} from './testkit/okta.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { at, restClient } from './testkit/rest.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

// The tokens are planted in hundreds of requests.
vi.setConfig({ testTimeout: 120_000 });

/** All planted tokens. */
const planted: string[] = [];

/** Creates a token in Okta's format that must not appear anywhere. */
function canary(): string {
  const token = `00canary${randomBytes(17).toString('hex')}`;
  planted.push(token);
  return token;
}

/** The encodings of tokens that hostile hosts sent back. */
const disguised: string[] = [];

function note(form: string): string {
  disguised.push(form);
  return form;
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Encodings of a token that a search for the token does not find. */
const disguises: ((token: string) => string)[] = [
  (token) => base64(`SSWS ${token}`),
  (token) => base64(`user:${token}`),
  (token) => base64(base64(token)),
  (token) => [...token].reverse().join(''),
  (token) => [...token].map((character) => `%${character.charCodeAt(0).toString(16)}`).join(''),
  (token) => [...token].map((character) => `&#${character.charCodeAt(0)};`).join(''),
  (token) => [...token].join('.'),
  (token) => [...token].map((character) => String.fromCharCode(character.charCodeAt(0) + 1)).join(''),
];

/** A valid response with one half of the token as id and the other as login. */
const splitting = withToken((request, response) => {
  const token = request.headers.authorization?.replace(/^SSWS /, '') ?? '';
  const [id, login] = [note(token.slice(0, 20)), note(token.slice(20))];
  response.writeHead(200).end(JSON.stringify({ id, status: 'ACTIVE', profile: { login } }));
});

/** A valid response with the token, in some encoding, as the name of the organisation, of a role and of a token. */
const echoingInNames = (encode: (token: string) => string): Behaviour => {
  const respond =
    (build: (name: string) => unknown): Behaviour =>
    (request, response) => {
      const token = request.headers.authorization?.replace(/^SSWS /, '') ?? '';
      json(build(encode(token)))(request, response);
    };
  const owner = '00ub0oNGTSWTBKOLGLNR';
  return behavingAt({
    '/api/v1/org': respond((companyName) => ({ companyName })),
    [`/api/v1/users/${owner}/roles`]: respond((label) => [{ type: 'CUSTOM', label }]),
    '/api/v1/api-tokens': respond((name) => [{ id: '00T1ab2cd3EF4GH5i0d7', userId: owner, name }]),
  });
};

/** Returns the planted tokens in a text. */
const found = (text: string) => foundIn(text, planted);

/** Sends a request and returns every byte of the response. */
async function collect(url: string, init: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  return `${response.status} ${JSON.stringify([...response.headers])} ${await response.text()}`;
}

let server: TestServer;
let upstream: TestOkta;
let folder: string;
/** Every byte of the responses to the tests that plant secrets. */
let responses = '';
const trusted = new Set<string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'app-connections-'));
  upstream = await startOkta();
  trusted.add(upstream.hostPort);
  server = await startTestServer({
    config: { trustedInstanceHosts: trusted },
    outbound: {
      timeoutMs: 3_000,
      lookup: async () => {
        throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
      },
    },
    ...(!testDatabaseUrl && { location: { kind: 'embedded', folder: join(folder, 'database') } }),
  });
});
afterAll(async () => {
  await server.close();
  await upstream.close();
  await rm(folder, { recursive: true });
});

async function send(apiKey: string, body: unknown, headers: Record<string, string> = {}, path = '/graphql') {
  responses += await collect(server.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

describe('an API token of Okta', () => {
  /** Variables with the token in the right field, in wrong fields and with wrong types. */
  function variables(): Record<string, unknown>[] {
    const token = canary();
    return [
      okta({}, { apiToken: token }),
      okta({ name: 'again' }, { apiToken: token }),
      okta({}, { apiToken: [token] }),
      okta({}, { apiToken: { token } }),
      okta({}, { apiToken: `SSWS ${token}` }),
      okta({}, { apiToken: `${token}\u0000` }),
      okta({}, { instanceUrl: token }),
      okta({}, { instanceUrl: `https://${token}@example.okta.com/${token}?${token}#${token}` }),
      okta({}, { instanceUrl: `https://${token}.invalid` }),
      okta({}, { instanceUrl: { token } }),
      okta({}, { [token]: token }),
      okta({ name: `-${token}` }),
      okta({ name: { token } }),
      okta({ description: [[token]] }),
      okta({ projectId: token }),
      okta({ method: token }),
      okta({ onUnreachable: token }),
      okta({ [token]: token }),
      { input: token },
      { input: [token] },
      { [token]: token },
    ];
  }

  /** Documents with the token as a literal, in right and wrong places and in syntax errors. */
  function documents(): string[] {
    const token = canary();
    const create = (input: string) =>
      `mutation { createOktaConnection(input: ${input}) { appConnection { id } } }`;
    const url = 'instanceUrl: "https://example.okta.com"';
    return [
      create(`{ name: "literal", credentials: { ${url}, apiToken: "${token}" } }`),
      create(`{ name: "block", credentials: { ${url}, apiToken: """${token}""" } }`),
      create(`{ name: "literal", credentials: { ${url}, apiToken: ["${token}"] } }`),
      create(`{ name: "literal", credentials: { ${url}, apiToken: { t: "${token}" } } }`),
      create(`{ name: "literal", credentials: { ${url}, token: "${token}" } }`),
      create(`{ name: "-${token}", credentials: { ${url}, apiToken: "t" } }`),
      create(`{ name: 1, description: "${token}", credentials: { ${url} } }`),
      create(`{ name: "x", projectId: "${token}", credentials: { ${url}, apiToken: "t" } }`),
      create(`{ name: "x", method: "${token}", credentials: { ${url}, apiToken: "t" } }`),
      create(`{ name: "x", onUnreachable: "${token}", credentials: { ${url}, apiToken: "t" } }`),
      create(`"${token}"`),
      create(`["${token}"]`),
      create(`{ credentials: { apiToken: "${token}" `),
      create(`{ credentials: { apiToken "${token}" } }`),
      create(`{ credentials: { apiToken: "${token} } }`),
      create(`{ credentials: { apiToken: '${token}' } }`),
      `{ appConnection(id: "${token}") { id } }`,
      `{ appConnections(first: "${token}") { totalCount } }`,
      `{ appConnections(after: "${token}") { totalCount } }`,
      `{ appConnections(app: "${token}") { totalCount } }`,
      `{ appConnectionByName(name: "${token}", projectId: "${token}") { id } }`,
      `{ appConnections @include(if: "${token}") { totalCount } }`,
      `query ($v: String = "${token}") { appConnection(id: $v) { id } }`,
      `query ($v: Int = "${token}") { appConnections(first: $v) { totalCount } }`,
      `{ __type(name: "${token}") { name } }`,
      `# ${token}\n{ nope }`,
      `"${token}"`,
      token,
    ];
  }

  /** Bodies, queries and paths of the REST routes with the token in right and wrong places. */
  async function plantInRest(apiKey: string): Promise<void> {
    const token = canary();
    const path = '/api/v1/app-connections/okta';
    const { input } = okta({ name: 'over-rest' }, { apiToken: token });
    const created = await restClient(server.url, apiKey)('POST', path, input);
    expect(created.status).toBe(200);
    responses += created.text;
    const id = at(created.body, 'appConnection', 'id');
    for (const { input: body } of variables())
      await send(apiKey, { name: 'another', ...Object(body) }, {}, path);
    await send(apiKey, `{"credentials": {"apiToken": "${token}"`, {}, path);
    await send(apiKey, token, {}, path);
    await send(apiKey, [input], {}, path);
    await send(apiKey, JSON.stringify(token), {}, path);
    await send(apiKey, { ...input, description: token.repeat(2_000) }, {}, path);
    await send(apiKey, input, { 'content-type': 'text/plain' }, path);
    await send(apiKey, input, { 'content-type': `application/json; charset=${token}` }, path);
    await send(apiKey, `apiToken=${token}`, { 'content-type': 'application/x-www-form-urlencoded' }, path);
    await send(apiKey, input, { authorization: `SSWS ${token}` }, path);
    await send(apiKey, input, { authorization: `Bearer ${token}` }, path);
    await send(apiKey, input, { 'idempotency-key': '1', 'x-request-id': token, cookie: token }, path);
    await send(apiKey, input, {}, `${path}?apiToken=${token}&${token}=1`);
    await send(apiKey, input, {}, `${path}/${token}`);
    const rest = restClient(server.url, apiKey);
    for (const [method, where, body] of [
      ['PATCH', `${path}/${id}`, { credentials: { apiToken: canary() } }],
      ['PATCH', `${path}/${id}`, { credentials: { apiToken: `${token} ${token}` } }],
      ['PATCH', `${path}/${id}`, { credentials: { [token]: token } }],
      ['PATCH', `${path}/${id}`, { description: token, credentials: { apiToken: token } }],
      ['PATCH', `${path}/${id}`, { name: token, [token]: token, version: token }],
      ['PATCH', `${path}/${token}`, { name: 'x' }],
      ['DELETE', `${path}/${id}?version=${token}&purge=${token}&${token}=1`],
      ['DELETE', `${path}/${id}`, { apiToken: token }],
      ['GET', `${path}/${token}`],
      ['GET', `${path}/connection-name/-${token}?projectId=${token}`],
      ['GET', `${path}?cursor=${token}&limit=${token}&projectId=${token}`],
      ['GET', `${path}?cursor=${Buffer.from(`["${token}"]`).toString('base64url')}`],
      ['GET', `${path}/available?${token}`],
      ['GET', `/api/${token}?${token}`],
      ['PUT', path, input],
    ] as const) {
      const answer = await rest(method, where, body);
      responses += JSON.stringify([...answer.headers]) + answer.text;
      expect(answer.status, `${method} ${where.slice(0, 40)}`).not.toBe(500);
    }
  }

  async function plantEverywhere(apiKey: string): Promise<void> {
    await plantInRest(apiKey);
    for (const each of variables()) await send(apiKey, { query: createMutation, variables: each });
    for (const query of documents()) await send(apiKey, { query });
    const token = canary();
    await send(apiKey, {
      query: 'query ($f: AuditEventFilter) { auditEvents(filter: $f) { nodes { seq } } }',
      variables: { f: { from: token, keyId: token, outcome: token } },
    });
    const watch =
      'subscription ($p: UUID, $a: String) { appConnectionChanged(projectId: $p, after: $a) { kind } }';
    for (const variables of [{ p: token }, { p: { [token]: token } }, { a: token }, { a: [{ token }] }]) {
      await send(apiKey, { query: watch, variables });
    }
    await send(apiKey, {
      query: `{ auditEvents(filter: { from: "${token}" }) { nodes { seq } } }`,
    });
    await send(apiKey, {
      query: 'query ($f: AppConnectionFilter) { appConnections(filter: $f) { totalCount } }',
      variables: { f: { namePrefix: token, createdFrom: token } },
    });
    await send(apiKey, { query: '{ __typename }', operationName: token });
    await send(apiKey, { query: '{ __typename }', extensions: { token }, [token]: token });
    await send(apiKey, { query: { token } });
    const carriedOut = okta({ name: 'called-by-a-token', idempotencyKey: token });
    await send(apiKey, { query: createMutation, variables: carriedOut });
    expect(responses).toContain('called-by-a-token');
    await send(apiKey, { query: createMutation, variables: token });
    await send(apiKey, [{ query: createMutation, variables: okta({}, { apiToken: token }) }]);
    await send(apiKey, `{"query": "mutation", "variables": {"apiToken": "${token}"`);
    await send(apiKey, `${token}`);
    await send(apiKey, okta({}, { apiToken: token }).input);
    await send(apiKey, { query: '{ __typename }' }, { authorization: `SSWS ${token}` });
    await send(apiKey, { query: '{ __typename }' }, { authorization: `Bearer ${token}` });
    await send(
      apiKey,
      { query: '{ __typename }' },
      { cookie: token, 'x-request-id': token, 'user-agent': token },
    );
    await send(apiKey, `query=${token}&apiToken=${token}`, {
      'content-type': 'application/x-www-form-urlencoded',
    });
    await send(apiKey, token, { 'content-type': `text/${token}` });
    await send(apiKey, token, { accept: `text/${token}` });
    const search = new URLSearchParams({
      query: `{ appConnection(id: "${token}") { id } }`,
      variables: `{${token}`,
    });
    responses += await collect(`${server.graphqlUrl}?${search}`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
    responses += await collect(`${server.url}/${token}?${token}`, {
      headers: { authorization: `Bearer ${apiKey}` },
    });
  }

  it('is in no response, log, audit event or row, wherever a client sends it', async () => {
    const { apiKey, client } = await server.newOrganisation();
    await plantEverywhere(apiKey);

    // Okta rejects it, times out, is unreachable or echoes it.
    const [gone, spare] = [await startOkta(), canary()];
    await gone.close();
    trusted.add(gone.hostPort);
    for (const behaviour of [
      tokenRejected,
      slowHeaders,
      echoing(),
      echoing((token) => Buffer.from(token).toString('base64')),
      echoing((token) => Buffer.from(token).toString('hex')),
      echoingAsId,
      ...disguises.map((disguise) => echoing((token) => note(disguise(token)))),
      ...disguises.map((disguise) => echoing((token) => `${note(disguise(token))}@example.com`)),
      ...disguises.map((disguise) => echoing((token) => `ada@${note(disguise(token))}.com`)),
      splitting,
      echoingInNames((token) => token),
      ...disguises.map((disguise) => echoingInNames((token) => note(disguise(token)))),
    ]) {
      upstream.behave(behaviour);
      const input = { name: `echo-${planted.length}`, onUnreachable: 'SAVE_UNVERIFIED' };
      await send(apiKey, {
        query: createMutation,
        variables: okta(input, { instanceUrl: upstream.origin, apiToken: canary() }),
      });
    }
    await send(apiKey, {
      query: createMutation,
      variables: okta(
        { name: 'gone', onUnreachable: 'SAVE_UNVERIFIED' },
        { instanceUrl: gone.origin, apiToken: spare },
      ),
    });

    const { appConnections } = await client.request<{ appConnections: { totalCount: number } }>(
      '{ appConnections { totalCount } }',
    );
    expect(appConnections.totalCount, 'tokens that were really kept').toBeGreaterThan(5);
    expect(upstream.requests.some(({ headers }) => found(String(headers.authorization)).length > 0)).toBe(
      true,
    );

    const events = await collect(server.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        query:
          '{ auditEvents(first: 100) { nodes { action connectionName outcome changedFields targetName subject } } }',
      }),
    });
    expect(events).toContain('CREATE_CONNECTION');
    for (const [where, text] of [
      ['in answers', responses],
      ['in the audit trail', events],
      ['in logs', server.logs()],
      ['in the database', await server.dump()],
    ] as const) {
      expect(found(text), where).toEqual([]);
      expect(
        disguised.filter((form) => text.includes(form)),
        where,
      ).toEqual([]);
    }
    expect(disguised.length).toBeGreaterThan(disguises.length);
    if (!testDatabaseUrl) expect(found(bytesIn(folder)), 'in the files of the database').toEqual([]);
  });

  it('is in no response or log when the database is unavailable', async () => {
    const dying = await startTestServer();
    const { apiKey } = await dying.newOrganisation();
    // On PostgreSQL the pool replaces a closed connection, so the test drops the database.
    if (dying.databaseName) await administer(`drop database ${dying.databaseName} with (force)`);
    else await dying.database.close();
    responses = '';
    const token = canary();
    const variables = okta({}, { apiToken: token });
    for (const authorization of [`Bearer ${apiKey}`, `Bearer ${token}`]) {
      for (const [path, body] of [
        ['/graphql', { query: createMutation, variables }],
        ['/api/v1/app-connections/okta', variables.input],
      ] as const) {
        const answer = await collect(dying.url + path, {
          method: 'POST',
          headers: { authorization, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        expect(answer).toMatch(/"code":"(INTERNAL_SERVER_ERROR|SERVICE_UNAVAILABLE)"/);
        expect(found(answer)).toEqual([]);
      }
    }
    expect(found(dying.logs())).toEqual([]);
    await dying.close();
  });

  it('is found by the search in each encoding (self-check)', () => {
    const token = canary();
    const bytes = Buffer.from(token);
    for (const text of [
      `a ${token} b`,
      token.toUpperCase(),
      Buffer.from(`x${token}y`).toString('base64'),
      Buffer.from(`xy${token}z`).toString('base64url'),
      bytes.toString('hex'),
      Array.from(bytes, (byte) => `%${byte.toString(16)}`).join(''),
    ]) {
      expect(found(text)).toEqual([token]);
    }
    expect(found('nothing here')).toEqual([]);
  });
});

/** The private members of a key in hexadecimal, as a list of bytes, and in base64 at each place of a longer text. */
function listFragments(key: KeyObject): string[] {
  const { d = '', p = '', qi = '' } = key.export({ format: 'jwk' });
  const members = [d, p, qi].filter(Boolean).map((member) => Buffer.from(member, 'base64url'));
  return members.flatMap((bytes) => [
    bytes.toString('base64url'),
    bytes.toString('hex'),
    [...bytes.subarray(0, 16)].join(','),
    ...[0, 1, 2].map((offset) =>
      Buffer.concat([Buffer.alloc(offset), bytes])
        .toString('base64')
        .slice(offset && 4, -4),
    ),
  ]);
}

/** Returns those of the fragments that a text contains, with line breaks or without. */
function findFragments(text: string, fragments: readonly string[]): string[] {
  const searched = text.toLowerCase().replaceAll(/\\+n|\s/g, '');
  return fragments.filter((fragment) => searched.includes(fragment.toLowerCase()));
}

const rsaKey = () => generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
const ecKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** The texts in which a person can have a private key. */
function listForms(key: KeyObject): string[] {
  const pem = key.export({ format: 'pem', type: 'pkcs8' }).toString();
  return [
    pem,
    pem.replaceAll('\n', '\\n'),
    pem.replaceAll('\n', ' '),
    JSON.stringify({ ...key.export({ format: 'jwk' }), kid: 'a-key' }),
    key.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
    key.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }).toString(),
    pem.replace('MII', 'MIJ').replace('MIG', 'MIH'),
  ];
}

describe('the keys and access tokens of service apps', () => {
  /** The access tokens that the host has issued. */
  const issued: string[] = [];
  const client = { clientId: '0oa1ab2cd3EF4GH5i0d7', scopes: ['okta.users.read', 'okta.orgs.read'] };

  /** Issues access tokens of this length, and sends what authorizes a request back in every member and header. */
  function echoingTokens(
    bytes: number,
    encode: (token: string) => string,
    type: 'Bearer' | 'DPoP',
  ): Behaviour {
    return withToken((request, response) => {
      if (request.url === '/oauth2/v1/token') {
        const token = `canary${randomBytes(bytes).toString('hex')}`;
        issued.push(token);
        const scope = `${client.scopes.join(' ')} ${encode(token)}`;
        const headers = {
          'content-type': 'application/json',
          'x-okta-request-id': encode(token).slice(0, 36),
        };
        const body = { access_token: token, token_type: type, expires_in: 3_600, scope };
        response.writeHead(200, headers).end(JSON.stringify(body));
        return;
      }
      const echo = encode(request.headers.authorization?.replace(/^\w+ /, '') ?? '');
      const user = {
        id: echo,
        status: echo,
        profile: { login: echo, [echo]: echo },
        companyName: echo,
        label: echo,
      };
      response.writeHead(200, {
        ...{ 'content-type': 'application/json', 'x-okta-request-id': echo.slice(0, 36), 'x-echo': echo },
        link: `<https://elsewhere.example/${echo}>; rel="self"`,
      });
      response.end(JSON.stringify(request.url?.startsWith('/api/v1/users?') ? [user] : user));
    });
  }

  async function plantKey(apiKey: string, form: string): Promise<void> {
    const rest = '/api/v1/app-connections/okta';
    const url = { instanceUrl: 'https://example.okta.com' };
    for (const credentials of [
      { ...url, ...client, privateKey: [form] },
      { ...url, ...client, privateKey: { form } },
      { ...url, ...client, privateKey: `${form}\u0000` },
      { ...url, ...client, privateKey: `${form}${form}` },
      { ...url, ...client, keyId: form },
      { ...url, ...client, privateKey: form, keyId: form },
      { ...url, ...client, clientId: form },
      { ...url, ...client, scopes: [form] },
      { ...url, ...client, scopes: form },
      { ...url, ...client, apiToken: form },
      { ...url, apiToken: form },
      { ...client, instanceUrl: form, privateKey: form },
      { ...url, ...client, [form]: form },
    ]) {
      const input = { name: `key-${responses.length}`, method: 'SERVICE_APP', credentials };
      await send(apiKey, { query: createMutation, variables: { input } });
      await send(apiKey, { ...input, method: 'service-app' }, {}, rest);
      await send(apiKey, { method: 'service-app', credentials }, {}, `${rest}/validate`);
    }
    for (const differing of [{ method: form }, { onUnreachable: form }, { [form]: 1 }])
      await send(apiKey, { query: createMutation, variables: okta(differing) });
    const literal = JSON.stringify(form);
    await send(apiKey, { query: `{ appConnection(id: ${literal}) { id } }` });
    await send(apiKey, `{"method":"service-app","credentials":{"privateKey":${literal}`, {}, rest);
  }

  /** Creates a connection with a service app, verifies it, and returns its id. */
  async function connect(apiKey: string, credentials: object): Promise<string> {
    const rest = restClient(server.url, apiKey);
    const answer = await rest('POST', '/api/v1/app-connections/okta', {
      ...{ name: `app-${issued.length}-${responses.length}`, method: 'service-app' },
      credentials: { instanceUrl: upstream.origin, ...client, ...credentials },
    });
    responses += answer.text;
    const id = String(at(answer.body, 'appConnection', 'id'));
    responses += (await rest('POST', `/api/v1/app-connections/okta/${id}/verify`)).text;
    responses += (await rest('GET', `/api/v1/app-connections/okta/${id}`)).text;
    return id;
  }

  /** Uses a connection in every way. */
  async function useEverywhere(apiKey: string, id: string): Promise<void> {
    const path = `/api/v1/app-connections/okta/${id}/proxy`;
    const rules = [{ effect: 'ALLOW', path: '/**' }];
    await restClient(server.url, apiKey)('PUT', `/api/v1/app-connections/okta/${id}/use-policy`, { rules });
    for (const [method, where] of [
      ['GET', '/api/v1/users?limit=1'],
      ['GET', '/api/v1/org'],
      ['POST', '/api/v1/groups?activate=true'],
      ['DELETE', '/api/v1/groups/x'],
    ]) {
      responses += await collect(`${server.url}${path}${where}`, {
        ...(method && { method }),
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        ...(method === 'POST' && { body: '{"profile":{"name":"x"}}' }),
      });
    }
    await send(apiKey, {
      query: `query ($id: UUID!) {
        oktaUsers(connectionId: $id, first: 1) { nodes { id status profile { login } } }
        oktaOrganisation(connectionId: $id) { id companyName }
        oktaResponse(connectionId: $id, path: "/api/v1/org") { headers { name value } body }
        appConnection(id: $id) { usage { total { calls } } usedBy { label } verification { message remedy oktaRequestId details { __typename
          ... on OktaServiceAppDetails { scopes organisation { name } roles { label } } } } }
      }`,
      variables: { id },
    });
  }

  it('are in no response, log, audit event or row, in PEM, JWK, DER or sent back by the host', async () => {
    const { apiKey } = await server.newOrganisation();
    const fragments: string[] = [];
    responses = '';
    for (const key of [rsaKey(), ecKey()]) {
      fragments.push(...listFragments(key));
      for (const form of listForms(key)) await plantKey(apiKey, form);
    }
    const encodings: ((token: string) => string)[] = [
      (token) => token,
      base64,
      (token) => Buffer.from(token).toString('hex'),
      (token) => [...token].map((character) => `%${character.charCodeAt(0).toString(16)}`).join(''),
    ];
    const managed: string[] = [];
    for (const encode of encodings) {
      for (const [bytes, type] of [
        [15, 'Bearer'],
        [15, 'DPoP'],
        [400, 'DPoP'],
      ] as const) {
        upstream.behave(echoingTokens(bytes, encode, type));
        const key = ecKey();
        fragments.push(...listFragments(key));
        const own = { privateKey: key.export({ format: 'jwk' }) };
        await useEverywhere(
          apiKey,
          await connect(apiKey, { ...own, privateKey: JSON.stringify(own.privateKey) }),
        );
        const id = await connect(apiKey, {});
        await useEverywhere(apiKey, id);
        managed.push(id);
      }
    }
    expect(issued.length).toBeGreaterThan(managed.length);
    for (const id of managed) fragments.push(...listFragments(await readManagedKey(id)));

    const texts = [
      ['in answers', responses],
      ['in logs', server.logs()],
      ['in the database', await server.dump()],
      ...(testDatabaseUrl ? [] : [['in the files of the database', bytesIn(folder)] as const]),
    ] as const;
    for (const [where, text] of texts) {
      expect(foundIn(text, issued), where).toEqual([]);
      expect(findFragments(text, fragments), where).toEqual([]);
      // Of the keys for proofs too, which exist only in memory.
      expect(text.match(/\\*"d\\*":\s*\\*"[\w-]{20,}/), where).toBeNull();
    }
    expect(responses).toContain('VERIFIED');
    expect(responses).toContain('***');
  });

  /** Decrypts the key that the server has made. */
  async function readManagedKey(id: string): Promise<KeyObject> {
    const em = server.asOwner();
    const populate = ['sealedCredentials', 'mac'] as const;
    const { orgId, app, method, sealedCredentials, dataKeyId } = await em.findOneOrFail(
      AppConnection,
      { id },
      { populate },
    );
    const binding = { orgId, connectionId: id, app, method, host: upstream.hostPort };
    const { privateKey } = await server.vault.open(em, binding, { text: sealedCredentials ?? '', dataKeyId });
    return createPrivateKey({ format: 'jwk', key: JSON.parse(privateKey?.reveal() ?? '') });
  }

  it('are found by their fragments in PEM, JWK and hexadecimal (self-check)', () => {
    for (const key of [rsaKey(), ecKey()]) {
      const fragments = listFragments(key);
      const [pem = '', , , jwk = ''] = listForms(key);
      const secret = Buffer.from(String(key.export({ format: 'jwk' }).d), 'base64url');
      for (const text of [pem, jwk, secret.toString('hex'), `[ ${[...secret].join(', ')} ]`])
        expect(findFragments(text, fragments)).not.toEqual([]);
      const publicPem = createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString();
      expect(findFragments(publicPem, fragments)).toEqual([]);
    }
  });
});

describe('secrets of the server', () => {
  it('Secret prints as [secret] in every format', () => {
    const token = canary();
    const secret = new Secret(token);
    const printed = [
      `${secret}`,
      String(secret),
      `${[secret]}`,
      JSON.stringify({ secret }),
      inspect(secret, { depth: 9, showHidden: true }),
      inspect({ deep: { secret } }, { depth: 9 }),
      Object.getOwnPropertyNames(secret).join(),
      JSON.stringify(structuredClone({ ...secret })),
    ];
    expect(found(printed.join())).toEqual([]);
    expect(printed[0]).toBe('[secret]');
    expect(secret.reveal()).toBe(token);
  });

  it('an API key is stored only as its SHA-256 and is in no log', async () => {
    const server = await startTestServer();
    const { apiKey, client } = await server.newOrganisation();
    await client.request('{ appConnections { totalCount } }');
    planted.push(apiKey);
    expect(found(await server.dump())).toEqual([]);
    expect(found(server.logs())).toEqual([]);
    expect(generateApiKey().reveal()).not.toBe(generateApiKey().reveal());
    await server.close();
  });
});

function bytesIn(folder: string): string {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');
}
