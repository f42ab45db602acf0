import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  at,
  createConnectionOverRest,
  createContractChecker,
  oktaBody,
  type RestClient,
  restClient,
} from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const path = '/api/v1/openapi.json';
const okta = '/api/v1/app-connections/okta';

let server: TestServer;
let document: object;
beforeAll(async () => {
  server = await startTestServer();
  document = Object((await restClient(server.url)('GET', path)).body);
});
afterAll(() => server.close());

/** Whether the document allows a body to be sent. */
function allows(name: string, body: unknown): boolean {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(document, 'document');
  return ajv.compile({ $ref: `document#/components/schemas/${name}` })(JSON.parse(JSON.stringify(body)));
}

describe('OpenAPI document', () => {
  test('is valid OpenAPI', async () => {
    const { valid, errors } = await new Validator().validate({ ...document });
    expect(errors).toBeUndefined();
    expect(valid).toBe(true);
    expect(at(document, 'openapi')).toMatch(/^3\.1\./);
  });

  test('describes every route, and every route responds as described', async () => {
    const { apiKey, projectId } = await server.newOrganisation();
    const client = restClient(server.url, apiKey);
    const { check, seen } = createContractChecker(document);
    const rest: RestClient = async (method, path, ...others) => {
      const answer = await client(method, path, ...others);
      check(method, path, answer);
      return answer;
    };
    const { id } = await createConnectionOverRest(rest);
    await createConnectionOverRest(rest, { name: 'second', description: 'With a description' });
    for (const [method, path, body] of [
      ['GET', '/api/v1/openapi.json'],
      ['GET', '/api/v1/app-connections?limit=1'],
      ['GET', '/api/v1/app-connections/options'],
      ['GET', okta],
      ['GET', `${okta}/available`],
      ['GET', `${okta}/connection-name/second`],
      ['GET', `${okta}/${id}`],
      ['PATCH', `${okta}/${id}`, { name: 'third' }],
      ['GET', `${okta}/${id}/verification`],
      ['POST', `${okta}/${id}/verify`],
      ['GET', `${okta}/${id}/health`],
      ['GET', `${okta}/${id}/usage?by=DAY`],
      ['GET', `${okta}/${id}/used-by`],
      ['GET', `${okta}/${id}/use-policy`],
      ['PUT', `${okta}/${id}/use-policy`, { preset: 'READ_WRITE' }],
      ['POST', `${okta}/${id}/use-policy/test`, { method: 'GET', path: '/api/v1/users' }],
      ['POST', `${okta}/validate`, { credentials: oktaBody().credentials }],
      [
        'POST',
        `${okta}/${id}/convert`,
        { to: { clientId: '0oa1ab2cd3EF4GH5i0d7', scopes: ['okta.users.read'] } },
      ],
      ['DELETE', `${okta}/${id}/conversion`],
      ['POST', `${okta}/${id}/setup-links`, { expiresIn: 300 }],
      ['GET', `${okta}/${id}/setup-links`],
      ['DELETE', `${okta}/${id}`],
      ['POST', `${okta}/${id}/restore`, { name: 'fourth' }],
      ['GET', '/api/v1/audit-events?limit=3&action=CREATE_CONNECTION&from=2020-01-01T00:00:00Z'],
      ['GET', '/api/v1/viewer'],
      ['GET', '/api/v1/projects?limit=1'],
      ['POST', '/api/v1/projects', { name: 'Another' }],
      ['PATCH', `/api/v1/projects/${projectId}`, { name: 'Renamed' }],
      ['GET', '/api/v1/api-keys?includeRevoked=true'],
      ['POST', '/api/v1/api-keys', { name: 'Reader', scopes: ['connections:read'] }],
    ] as const) {
      expect((await rest(method, path, body)).status, path).toBe(200);
    }
    const serviceApp = await createConnectionOverRest(rest, {
      ...{ name: 'service-app', method: 'service-app' },
      credentials: {
        instanceUrl: 'https://example.okta.com',
        clientId: '0oa1ab2cd3EF4GH5i0d7',
        scopes: ['okta.users.read'],
      },
    });
    for (const action of ['verify', 'rotate-key']) {
      const path = `${okta}/${serviceApp.id}/${action}`;
      expect((await rest('POST', path)).status, path).toBe(200);
    }
    const webhooks = '/api/v1/webhook-endpoints';
    const url = 'https://example.com/webhooks';
    const { body: created } = await rest('POST', webhooks, { url, eventTypes: ['connection.created'] });
    const endpoint = `${webhooks}/${at(created, 'endpoint', 'id')}`;
    for (const [method, path, input] of [
      ['GET', webhooks],
      ['GET', endpoint],
      ['PATCH', endpoint, { description: 'Changed', eventTypes: null }],
      ['POST', `${endpoint}/rotate-secret`],
      ['POST', `${endpoint}/test`],
      ['GET', `${endpoint}/messages?status=PENDING&limit=1`],
      ['POST', `${endpoint}/redeliver`, { from: '2020-01-01T00:00:00Z' }],
      ['DELETE', endpoint],
    ] as const) {
      expect((await rest(method, path, input)).status, path).toBe(200);
    }
    const { body } = await rest('GET', '/api/v1/api-keys?limit=1');
    await rest('POST', `/api/v1/api-keys/${at(body, 'apiKeys', 0, 'id')}/revoke`);
    const links = `${okta}/${id}/setup-links`;
    const link = await rest('POST', links);
    const setup = restClient(server.url, new URL(String(at(link.body, 'url'))).hash.slice(1));
    for (const [step, body] of [
      ['open'],
      ['check'],
      ['credentials', { credentials: { apiToken: 'a-token' } }],
    ] as const) {
      const path = `/api/v1/setup/${step}`;
      check('POST', path, await setup('POST', path, body));
    }
    await rest('POST', `${links}/${at(link.body, 'setupLink', 'id')}/revoke`);
    const described = Object.entries(Object(at(document, 'paths'))).flatMap(([pattern, operations]) =>
      Object.keys(Object(operations)).map((method) => `${method.toUpperCase()} ${pattern} 200`),
    );
    expect([...seen].sort()).toEqual(described.sort());
    expect(described).toHaveLength(46);
  });

  test('is compared with responses in a way that finds differences (self-check)', async () => {
    const { apiKey } = await server.newOrganisation();
    const client = restClient(server.url, apiKey);
    const { id } = await createConnectionOverRest(client);
    const answer = await client('GET', `${okta}/${id}`);
    const { check } = createContractChecker(document);
    const connection = Object(at(answer.body, 'appConnection'));
    const differing = (changes: object) => () =>
      check('GET', `${okta}/${id}`, { ...answer, body: { appConnection: { ...connection, ...changes } } });
    expect(differing({})).not.toThrow();
    for (const changes of [
      { extra: 1 },
      { name: undefined },
      { version: '1' },
      { createdAt: '2025-04-23' },
      { app: 'OKTA' },
      { credentials: { ...connection.credentials, apiToken: 't' } },
    ]) {
      expect(differing(changes), JSON.stringify(changes)).toThrow(/appConnection/);
    }
    expect(() => check('GET', `${okta}/${id}`, { ...answer, status: 418 })).toThrow('418');
    expect(() => check('PUT', `${okta}/${id}`, answer)).toThrow('put');
  });

  test('allows the same bodies as the server', async () => {
    const { apiKey } = await server.newOrganisation();
    const client = restClient(server.url, apiKey);
    const { id } = await createConnectionOverRest(client, { name: 'to-be-changed' });
    const { method: _, ...withoutMethod } = oktaBody({ name: 'b' });
    for (const [name, body, isRight] of [
      ['CreateOktaConnection', oktaBody({ name: 'a', projectId: null, description: 'x' }), true],
      ['CreateOktaConnection', withoutMethod, true],
      ['CreateOktaConnection', oktaBody({ name: 'c', onUnreachable: 'SAVE_UNVERIFIED' }), true],
      ['CreateOktaConnection', oktaBody({ name: 'd', onUnreachable: 'NEVER' }), false],
      ['CreateOktaConnection', oktaBody({ name: 'D' }), false],
      ['CreateOktaConnection', oktaBody({ name: undefined }), false],
      ['CreateOktaConnection', oktaBody({ name: 'e', projectId: 'x' }), false],
      ['CreateOktaConnection', oktaBody({ name: 'f', extra: 'x' }), false],
      ['CreateOktaConnection', oktaBody({ name: 'g' }, { apiToken: 7 }), false],
      ['CreateOktaConnection', oktaBody({ name: 'h' }, { apiToken: undefined }), false],
      ['UpdateOktaConnection', { name: 'changed', description: null }, true],
      ['UpdateOktaConnection', { credentials: { apiToken: 'another' }, allowDifferentOktaOrg: null }, true],
      ['UpdateOktaConnection', { name: null }, false],
      ['UpdateOktaConnection', { version: 0 }, false],
      ['UpdateOktaConnection', { credentials: { apitoken: 'x' } }, false],
    ] as const) {
      const isCreate = name === 'CreateOktaConnection';
      const { status } = await client(isCreate ? 'POST' : 'PATCH', isCreate ? okta : `${okta}/${id}`, body);
      expect([body, allows(name, body), status]).toEqual([body, isRight, isRight ? 200 : 422]);
    }
  });

  test('marks every secret as writeOnly', () => {
    const { schemas } = Object(at(document, 'components'));
    const token = at(
      schemas,
      'CreateOktaConnection',
      'oneOf',
      0,
      'properties',
      'credentials',
      'properties',
      'apiToken',
    );
    expect(token).toMatchObject({ type: 'string', writeOnly: true });
    for (const name of ['OktaConnection', 'AvailableOktaConnection', 'Problem']) {
      expect(JSON.stringify(at(schemas, name))).not.toContain('apiToken');
    }
  });

  test('is public in development and needs a key in production, and rejects a wrong key in both', async () => {
    const wrong = await restClient(server.url, 'unknown-key')('GET', path);
    expect(wrong.status).toBe(401);
    const production = await startTestServer({ config: { production: true, host: '127.0.0.1' } });
    const { apiKey } = await production.newOrganisation();
    const outcomes = [
      await restClient(production.url)('GET', path),
      await restClient(production.url, apiKey)('GET', path),
    ];
    await production.close();
    expect(outcomes.map(({ status }) => status)).toEqual([401, 200]);
    expect(outcomes[1]?.body).toEqual(document);
  });
});
