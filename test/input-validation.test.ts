import { readFileSync } from 'node:fs';
import {
  buildSchema,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isLeafType,
  isListType,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { createConnection } from './testkit/operations.ts';
import { at, type RestClient, restClient } from './testkit/rest.ts';
import { parcelDepot } from './testkit/second-app.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createLink } from './testkit/setup-links.ts';

let server: TestServer;
let rest: RestClient;
beforeAll(async () => {
  const trustedHosts = new Set<string>();
  server = await startTestServer({
    apps: [...createApps({ trustedHosts }), parcelDepot({ origin: 'http://127.0.0.1:1' })],
  });
  rest = restClient(server.url, (await server.newOrganisation()).apiKey);
});
afterAll(() => server.close());

interface ErrorResponse {
  status: number;
  code: string;
  paths: string[];
  text: string;
}

function toErrorResponse(
  status: number,
  { code, issues }: { code: string; issues?: { path: unknown[] }[] },
  text: string,
) {
  return { status, code, paths: (issues ?? []).map(({ path }) => path.join('.')).sort(), text };
}

async function overRest(method: string, path: string, body?: object): Promise<ErrorResponse> {
  const { status, body: response, text } = await rest(method, `/api/v1/app-connections${path}`, body);
  return toErrorResponse(status, Object(response), text);
}

async function overGraphql(query: string, variables: object): Promise<ErrorResponse> {
  const { status, text } = await rest('POST', '/graphql', { query, variables });
  const { errors } = JSON.parse(text);
  return toErrorResponse(status, Object(errors?.[0]?.extensions), text);
}

const create = (app: string) =>
  `mutation ($input: Create${app}ConnectionInput!) { create${app}Connection(input: $input) { appConnection { id } } }`;

describe('validation errors', () => {
  it.each<[string, string, object, string[]]>([
    [
      'an unknown method',
      '/okta',
      {
        name: 'A B',
        method: 'password',
        projectId: 'x',
        credentials: { instanceUrl: 'ftp://x', apiToken: '' },
      },
      ['credentials.apiToken', 'credentials.instanceUrl', 'method', 'name', 'projectId'],
    ],
    [
      "a method that is another app's",
      '/okta',
      { name: '-', method: 'signed-requests', description: 'x'.repeat(300), credentials: { apiToken: ' ' } },
      ['credentials.apiToken', 'credentials.instanceUrl', 'description', 'method', 'name'],
    ],
    [
      'a method that is no string',
      '/okta',
      { name: '', method: 7, onUnreachable: 'NEVER', credentials: 'none' },
      ['credentials', 'method', 'name', 'onUnreachable'],
    ],
    [
      'no method for an app with several methods',
      '/parcel-depot',
      { name: 'A', credentials: { clientId: 'wrong', region: 'europe' } },
      ['credentials.clientId', 'credentials.region', 'method', 'name'],
    ],
    [
      'an unknown method and unknown members',
      '/okta',
      {
        name: 'A',
        method: 'x',
        extra: 1,
        credentials: { extra: 1, instanceUrl: 'https://a.okta.com', apiToken: 't' },
      },
      ['', 'credentials', 'method', 'name'],
    ],
    [
      'a secret in the wrong field',
      '/okta',
      {
        name: 'A B',
        method: 'api-token',
        description: 'the token is 00planted-here',
        credentials: { instanceUrl: 'ftp://x', apiToken: ' 00planted-here ' },
      },
      ['credentials.instanceUrl', 'description', 'name'],
    ],
    [
      'a secret in the wrong field and an invalid credential',
      '/okta',
      {
        name: 'fine',
        method: 'x',
        description: 'SSWS 00planted-here',
        credentials: { instanceUrl: 'https://a.okta.com', apiToken: 'SSWS 00planted-here' },
      },
      ['credentials.apiToken', 'description', 'method'],
    ],
  ])('list all broken rules of a body with %s', async (_, path, body, paths) => {
    const response = await overRest('POST', path, body);
    expect(response).toMatchObject({ status: 422, code: 'BAD_USER_INPUT', paths });
    expect(response.text).not.toContain('00planted');
  });

  it.each<[string, string, object, string[]]>([
    [
      "a method that is another app's",
      create('Okta'),
      { name: 'A B', method: 'SIGNED_REQUESTS', credentials: { instanceUrl: 'ftp://x', apiToken: '' } },
      ['input.credentials.apiToken', 'input.credentials.instanceUrl', 'input.method', 'input.name'],
    ],
    [
      'an unknown method',
      create('Okta'),
      { name: 'A B', method: 'api-token', credentials: { instanceUrl: 'ftp://x', apiToken: '' } },
      ['input.credentials.apiToken', 'input.credentials.instanceUrl', 'input.method', 'input.name'],
    ],
    [
      'nested values of wrong types',
      create('Okta'),
      { name: 'A B', credentials: { instanceUrl: 7, apiToken: 'SSWS t' }, idempotencyKey: 'a b' },
      ['input.credentials.apiToken', 'input.credentials.instanceUrl', 'input.idempotencyKey', 'input.name'],
    ],
    [
      'an unknown member',
      create('Okta'),
      { name: 'A B', extra: 1, credentials: { instanceUrl: 'ftp://x', apiToken: 't' } },
      ['input', 'input.credentials.instanceUrl', 'input.name'],
    ],
    [
      "another app's method and its fields",
      create('ParcelDepot'),
      { name: 'A', method: 'API_TOKEN', credentials: { clientId: 'c-1', region: 'europe', apiToken: '' } },
      [
        'input.credentials.apiToken',
        'input.credentials.clientId',
        'input.credentials.instanceUrl',
        'input.credentials.region',
        'input.name',
      ],
    ],
    [
      'an expired date and an unknown scope',
      'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { key } }',
      { name: '', scopes: ['NONE'], expiresAt: '2001-01-01T00:00:00Z' },
      ['input.expiresAt', 'input.name', 'input.scopes.0'],
    ],
  ])('list all broken rules of variables with %s', async (_, query, input, paths) => {
    expect(await overGraphql(query, { input })).toMatchObject({ code: 'BAD_USER_INPUT', paths });
  });

  it("list all broken rules when credentials are validated with another app's method", async () => {
    const query = `mutation ($credentials: OktaCredentialsInput!, $method: AppConnectionMethod!) {
      validateOktaCredentials(credentials: $credentials, method: $method) { status }
    }`;
    const credentials = { instanceUrl: 'ftp://x', apiToken: 'SSWS t' };
    expect(await overGraphql(query, { credentials, method: 'SIGNED_REQUESTS' })).toMatchObject({
      code: 'BAD_USER_INPUT',
      paths: ['credentials.apiToken', 'credentials.instanceUrl', 'method'],
    });
  });

  it('list all broken rules of the body, the path and the query of an update', async () => {
    const body = { version: 0, name: 'A B', extra: 1, credentials: { extra: 1, apiToken: 'SSWS t' } };
    expect(await overRest('PATCH', '/okta/no-id?extra=1', body)).toMatchObject({
      status: 422,
      paths: ['', '', 'credentials', 'credentials.apiToken', 'id', 'name', 'version'],
    });
  });

  it.each<[string, string[]]>([
    ['?limit=0&cursor=x&projectId=y&extra=1', ['', 'cursor', 'limit', 'projectId']],
    ['?limit=1&limit=2&cursor=x', ['cursor', 'limit']],
    ['?projectId=%00&limit=1000&cursor=', ['cursor', 'limit', 'projectId']],
  ])('list all broken rules of the query string %s', async (query, paths) => {
    expect(await overRest('GET', query)).toMatchObject({ status: 422, code: 'BAD_USER_INPUT', paths });
  });
});

describe('unknown members in REST', () => {
  const right = { instanceUrl: 'https://example.okta.com', apiToken: 'a-good-token' };
  it.each<[string, string, object]>([
    ['POST', '/okta', { name: 'a', credentials: { ...right, '00planted': 1 } }],
    ['POST', '/okta', { name: 'a', credentials: { ...right, api_token: '00planted' } }],
    ['POST', '/okta', { name: 'a', credentials: { ...right, apitoken: '00planted' } }],
    ['POST', '/okta', { name: 'a', credentials: { ...right, clientId: '00planted' } }],
    ['POST', '/okta', { name: 'a', credentials: right, '00planted': null }],
    ['POST', '/parcel-depot', { name: 'a', method: 'api-token', credentials: { ...right, '00planted': 1 } }],
    ['PATCH', '/okta/7ffbb072-2575-495a-b5b0-127f88caef78', { credentials: { api_token: '00planted' } }],
  ])('are rejected without echoing them: %s %s %j', async (method, path, body) => {
    const { status, code, text } = await overRest(method, path, body);
    expect([status, code]).toEqual([422, 'BAD_USER_INPUT']);
    expect(text).not.toContain('00planted');
  });
});

/** The paths of the objects in a JSON schema of the OpenAPI document, `[]` for the schema itself; lists have one item. */
function objectPaths(document: object, schema: unknown): (string | number)[][] {
  const { $ref, type, properties, items, ...others } = Object(schema);
  if ($ref) return objectPaths(document, at(document, ...$ref.replace('#/', '').split('/')));
  const nested = (name: string | number, inner: unknown) =>
    objectPaths(document, inner).map((path) => [name, ...path]);
  return [
    ...(type === 'object' ? [[]] : []),
    ...Object.entries(Object(properties)).flatMap(([name, inner]) => nested(name, inner)),
    ...(items ? nested(0, items) : []),
    ...[others.oneOf, others.anyOf, others.allOf].flatMap((all: unknown[] = []) =>
      all.flatMap((inner) => objectPaths(document, inner)),
    ),
  ];
}

/** The JSON of objects and lists within each other, with one member in the innermost. */
function nest(path: readonly (string | number)[], member: string): string {
  const inner = `{${JSON.stringify(member)}:{"polluted":true}}`;
  return path.reduceRight<string>(
    (json, name) => (typeof name === 'number' ? `[${json}]` : `{${JSON.stringify(name)}:${json}}`),
    inner,
  );
}

const unique = <T>(all: readonly T[]) => [
  ...new Map(all.map((each) => [JSON.stringify(each), each])).values(),
];
const inherited = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__'];

describe('members with names that JavaScript objects inherit', () => {
  it('are unknown members of every object in the bodies of REST', async () => {
    const organisation = await server.newOrganisation();
    const connection = await createConnection(organisation, { name: 'with-a-link' });
    const { secret } = await createLink(organisation.client, connection.id);
    const client = restClient(server.url, organisation.apiKey);
    const document = Object((await client('GET', '/api/v1/openapi.json')).body);
    const tried: string[] = [];
    for (const [pattern, methods] of Object.entries(Object(document.paths))) {
      for (const [method, { requestBody }] of Object.entries<{ requestBody?: unknown }>(Object(methods))) {
        const schema = at(requestBody, 'content', 'application/json', 'schema');
        for (const path of unique(objectPaths(document, schema))) {
          for (const name of inherited) {
            const target = pattern.replace(/\{\w+\}/g, connection.id);
            const send = target.startsWith('/api/v1/setup/') ? restClient(server.url, secret) : client;
            const { status, body, text } = await send(method.toUpperCase(), target, nest(path, name));
            const what = `${method} ${pattern} ${nest(path, name)}`;
            expect([what, status, at(body, 'code')]).toEqual([what, 422, 'BAD_USER_INPUT']);
            const issue = { path, message: expect.stringContaining('There is an unknown member.') };
            expect(at(body, 'issues'), what).toContainEqual(issue);
            expect(text, what).not.toContain('polluted');
          }
          tried.push(`${method} ${pattern} ${path.join('.')}`);
        }
      }
    }
    expect(tried).toContain('post /api/v1/setup/credentials credentials');
    expect(tried).toContain('put /api/v1/app-connections/okta/{id}/use-policy rules.0');
    expect(tried).toContain('post /api/v1/app-connections/okta/{id}/convert to');
  });

  it('are refused beside a right token in a setup link, which stays active', async () => {
    const organisation = await server.newOrganisation();
    const connection = await createConnection(organisation, { name: 'with-a-link' });
    const { secret } = await createLink(organisation.client, connection.id);
    const send = restClient(server.url, secret);
    for (const member of [...inherited, 'instanceUrl']) {
      const json = `{"credentials":{"apiToken":"a-good-token",${JSON.stringify(member)}:"x"}}`;
      const { status, body } = await send('POST', '/api/v1/setup/credentials', json);
      expect([member, status, at(body, 'issues', 0, 'path')]).toEqual([member, 422, ['credentials']]);
    }
    const json = '{"credentials":{"apiToken":"a-good-token"}}';
    expect((await send('POST', '/api/v1/setup/credentials', json)).status).toBe(200);
  });

  it('are unknown fields of every input object of GraphQL', async () => {
    const schema = buildSchema(readFileSync(new URL('../schema.graphql', import.meta.url), 'utf8'));
    const tried = new Set<string>();
    for (const root of [schema.getQueryType(), schema.getMutationType()]) {
      const operation = root === schema.getQueryType() ? 'query' : 'mutation';
      for (const { name: field, args, type } of Object.values(root?.getFields() ?? {})) {
        const selection = isLeafType(getNamedType(type)) ? '' : '{ __typename }';
        const declared = args.map((arg) => `$${arg.name}: ${arg.type}`).join(', ');
        const given = args.map(({ name }) => `${name}: $${name}`).join(', ');
        for (const { name: variable, type } of args) {
          for (const path of inputPaths(type)) {
            for (const name of inherited) {
              const query = `${operation} (${declared}) { ${field}(${given}) ${selection} }`;
              const json = `{"query":${JSON.stringify(query)},"variables":${nest([variable, ...path], name)}}`;
              const body: unknown = JSON.parse((await rest('POST', '/graphql', json)).text);
              const what = `${field}(${variable}) ${nest(path, name)}`;
              const issue = { path: [variable, ...path], message: expect.stringContaining('is not defined') };
              expect(at(body, 'errors', 0, 'extensions', 'issues'), what).toContainEqual(issue);
            }
            tried.add([field, variable, ...path].join('.'));
          }
        }
      }
    }
    expect([...tried]).toContain('createOktaConnection.input.credentials');
    expect([...tried]).toContain('updateUsePolicy.input.rules.0');
  });
});

/** The paths of the input objects in a type, `[]` for the type itself; lists have one item. */
function inputPaths(type: GraphQLInputType): (string | number)[][] {
  const nullable = getNullableType(type);
  if (isListType(nullable)) return inputPaths(nullable.ofType).map((path) => [0, ...path]);
  if (!isInputObjectType(nullable)) return [];
  const fields = Object.values(nullable.getFields());
  return [[], ...fields.flatMap(({ name, type }) => inputPaths(type).map((path) => [name, ...path]))];
}

describe('a time in GraphQL', () => {
  const list =
    'query ($time: DateTime!) { appConnections(filter: { expiresBefore: $time }) { nodes { id } } }';

  it.each(['2030-01-31T10:15:30Z', '2030-01-31T10:15:30.125+02:00'])('can be %s', async (time) => {
    const { text } = await rest('POST', '/graphql', { query: list, variables: { time } });
    expect(JSON.parse(text)).toEqual({ data: { appConnections: { nodes: [] } } });
  });

  it.each(['2030-02-30T10:15:30Z', '2030-01-31', '31 January 2030', 'tomorrow', 0, {}])(
    'cannot be %j, which the error does not repeat',
    async (time) => {
      const error = await overGraphql(list, { time });
      expect(error).toMatchObject({ code: 'BAD_USER_INPUT', paths: ['time'] });
      expect(error.text).toContain(
        'The time must be an RFC 3339 timestamp, such as 2007-12-03T10:15:30.125Z.',
      );
      if (typeof time === 'string') expect(error.text).not.toContain(time);
    },
  );
});
