import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { Secret } from '../src/common/secret.ts';
import { administer, testDatabaseUrl } from './testkit/database.ts';
import {
  type Behaviour,
  echoing,
  echoingAsId,
  slowHeaders,
  startOkta,
  type TestOkta,
  tokenRejected,
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
const splitting: Behaviour = (request, response) => {
  const token = request.headers.authorization?.replace(/^SSWS /, '') ?? '';
  const [id, login] = [note(token.slice(0, 20)), note(token.slice(20))];
  response.writeHead(200).end(JSON.stringify({ id, status: 'ACTIVE', profile: { login } }));
};

/** Returns the planted tokens in a text. */
const found = (text: string) => foundIn(text, planted);

/** Sends a request and returns every byte of the response. */
async function collect(url: string, init: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  return `${response.status} ${JSON.stringify([...response.headers])} ${await response.text()}`;
}

describe('an API token of Okta', () => {
  let server: TestServer;
  let upstream: TestOkta;
  let folder: string;
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

  async function send(
    apiKey: string,
    body: unknown,
    headers: Record<string, string> = {},
    path = '/graphql',
  ) {
    responses += await collect(server.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

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
