import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at, createCheckedClient, createConnectionOverRest, oktaBody, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const root = '/api/v1/app-connections';
const okta = `${root}/okta`;
const unknownId = '00000000-0000-4000-8000-000000000000';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Creates an organisation, and a client that checks every response against the OpenAPI document. */
async function fresh() {
  const organisation = await server.newOrganisation();
  return { ...organisation, rest: await createCheckedClient(server.url, organisation.apiKey) };
}

describe('REST request', () => {
  test('requires an API key, and explains how to send one', async () => {
    const open = restClient(server.url);
    for (const [method, path] of [
      ['POST', okta],
      ['GET', root],
      ['GET', okta],
      ['GET', `${root}/options`],
      ['GET', `${okta}/available`],
      ['GET', `${okta}/${unknownId}`],
      ['GET', `${okta}/connection-name/x`],
      ['PATCH', `${okta}/${unknownId}`],
      ['DELETE', `${okta}/${unknownId}`],
      ['POST', `${okta}/${unknownId}/verify`],
      ['POST', `${okta}/${unknownId}/restore`],
      ['POST', `${okta}/validate`],
      ['GET', '/api/v1/audit-events'],
      ['GET', '/api/v1/viewer'],
      ['POST', '/api/v1/projects'],
      ['POST', '/api/v1/api-keys'],
    ] as const) {
      for (const authorization of [undefined, 'Bearer unknown-key', 'SSWS x']) {
        const body = method === 'GET' ? undefined : '{';
        const answer = await open(method, path, body, authorization === undefined ? {} : { authorization });
        expect([path, answer.status, at(answer.body, 'code')]).toEqual([path, 401, 'UNAUTHENTICATED']);
        expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      }
    }
  });

  test('requires the same scope as GraphQL', async () => {
    const { rest, newKey } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    const reader = restClient(server.url, await newKey(['connections:read']));
    const writer = restClient(server.url, await newKey(['connections:write']));
    for (const path of [root, okta, `${okta}/available`, `${okta}/${id}`]) {
      expect((await reader('GET', path)).status).toBe(200);
      expect((await writer('GET', path)).status).toBe(403);
    }
    expect((await reader('PATCH', `${okta}/${id}`, { name: 'x' })).status).toBe(403);
    expect((await reader('DELETE', `${okta}/${id}`)).status).toBe(403);
    expect((await writer('DELETE', `${okta}/${id}`)).status).toBe(200);
  });

  test('is logged in one line with the route pattern, the key and the code', async () => {
    const { apiKey } = await server.newOrganisation();
    const { headers } = await restClient(server.url, apiKey)('GET', `${okta}/seen-nowhere?seen=nowhere`);
    const id = String(headers.get('x-request-id'));
    const line = () =>
      server
        .logs()
        .split('\n')
        .filter((each) => each.includes(id) && each.includes('"msg":"request"'));
    await expect.poll(line).toHaveLength(1);
    expect(JSON.parse(line()[0] ?? '')).toMatchObject({
      operation: `GET ${okta}/:id`,
      keyId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      status: 422,
      outcome: 'BAD_USER_INPUT',
    });
    expect(server.logs()).not.toContain('seen-nowhere');
  });
});

describe('invalid REST request', () => {
  test('gets 404 for an unknown route', async () => {
    const { apiKey } = await server.newOrganisation();
    const rest = restClient(server.url, apiKey);
    for (const path of [
      '/api/',
      '/api/v1/nope',
      `${okta}/`,
      `${okta}/${unknownId}/x`,
      `${okta}/connection-name/`,
    ]) {
      const { status, headers, body } = await rest('GET', path);
      expect([path, status, at(body, 'code')]).toEqual([path, 404, 'NOT_FOUND']);
      expect(headers.get('content-type')).toBe('application/problem+json');
    }
  });

  test('gets 405 with the allowed methods', async () => {
    const { apiKey } = await server.newOrganisation();
    const rest = restClient(server.url, apiKey);
    for (const [method, path, allow] of [
      ['PUT', okta, 'POST, GET, HEAD'],
      ['POST', root, 'GET, HEAD'],
      ['DELETE', `${okta}/available`, 'GET, HEAD'],
      ['POST', `${okta}/${unknownId}`, 'GET, HEAD, PATCH, DELETE'],
      ['POST', '/api/v1/openapi.json', 'GET, HEAD'],
      ['OPTIONS', `${root}/options`, 'GET, HEAD'],
    ] as const) {
      const { status, headers, body } = await rest(method, path);
      expect([method, status, headers.get('allow'), at(body, 'status')]).toEqual([method, 405, allow, 405]);
    }
  });

  test('gets 415 for a content type other than plain JSON', async () => {
    const { rest } = await fresh();
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/json; charset=latin1',
      'json',
    ]) {
      const { status, body } = await rest('POST', okta, '{}', { 'content-type': type });
      expect([type, status, at(body, 'code')]).toEqual([type, 415, 'BAD_USER_INPUT']);
    }
    expect((await rest('POST', okta, '{}', { 'content-encoding': 'gzip' })).status).toBe(415);
    const utf8 = { 'content-type': 'Application/JSON; charset=UTF-8' };
    expect((await rest('POST', okta, oktaBody(), utf8)).status).toBe(200);
  });

  test('gets 413 above 100,000 bytes, with and without Content-Length', async () => {
    const { rest, apiKey } = await fresh();
    const sized = (bytes: number) => {
      const body = JSON.stringify(oktaBody());
      return body + ' '.repeat(bytes - body.length);
    };
    const { status, body } = await rest('POST', okta, sized(100_001));
    expect([status, at(body, 'code')]).toEqual([413, 'BAD_USER_INPUT']);
    // A stream is sent in chunks without Content-Length.
    const streamed = await fetch(
      new Request(server.url + okta, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: new Blob([sized(300_000)]).stream(),
        ...{ duplex: 'half' },
      }),
    );
    expect(streamed.status).toBe(413);
    expect((await rest('POST', okta, sized(100_000))).status).toBe(200);
  });

  test('gets 400 without an echo for invalid JSON or a JSON value that is not an object', async () => {
    const { rest } = await fresh();
    const bodies = [
      '{"name": "planted"',
      'planted',
      "{'planted': 1}",
      '{"planted": NaN}',
      '',
      '\u0000planted',
    ];
    for (const text of [...bodies, '["planted"]', '"planted"', 'null', '7', 'true', '['.repeat(50_000)]) {
      const { status, body, text: answer } = await rest('POST', okta, text);
      expect([text.slice(0, 20), status, at(body, 'code')]).toEqual([
        text.slice(0, 20),
        400,
        'BAD_USER_INPUT',
      ]);
      expect(answer).not.toContain('planted');
    }
    const response = await fetch(server.url + okta, {
      method: 'POST',
      headers: { authorization: `Bearer ${(await fresh()).apiKey}`, 'content-type': 'application/json' },
      body: new Uint8Array([...Buffer.from('{"name":"'), 0xff, ...Buffer.from('"}')]),
    });
    expect(response.status, 'not UTF-8').toBe(400);
  });

  test('gets 422 and never a 5xx for hostile JSON', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    const deep = `${'[{"a":'.repeat(12_000)}1${'}]'.repeat(12_000)}`;
    const credentials = '"credentials":{"instanceUrl":"https://example.okta.com","apiToken":"t"}';
    const hostile = [
      '{}',
      '{"__proto__":{"name":"x"}}',
      `{"__proto__":{"name":"x"},${credentials}}`,
      '{"constructor":{"prototype":{}},"toString":1}',
      `{"name":"x","credentials":{"__proto__":{"apiToken":"t"},"instanceUrl":"https://example.okta.com"}}`,
      `{"name":"x","credentials":${deep}}`,
      `{"name":${deep},${credentials}}`,
      `{"name":"x\\u0000",${credentials}}`,
      `{"name":"x","description":"\\u0000",${credentials}}`,
      `{"name":"x","description":"\\ud800",${credentials}}`,
      `{"name":"x","projectId":"\\u0000",${credentials}}`,
      `{"name":"x","projectId":"{${unknownId}}",${credentials}}`,
      `{"name":"x","method":"__proto__",${credentials}}`,
      `{"name":"x","method":null,${credentials}}`,
      '{"name":"x","credentials":null}',
      '{"name":"x","credentials":[]}',
      '{"name":"x","credentials":"t"}',
      '{"name":"x","credentials":{"instanceUrl":{},"apiToken":{}}}',
      '{"name":"x","credentials":{"instanceUrl":"https://example.okta.com","apiToken":"\\u0000"}}',
      '{"name":"x","credentials":{"instanceUrl":"https://example.okta.com","apiToken":""}}',
    ];
    for (const text of hostile) {
      const { status, body } = await rest('POST', okta, text);
      expect([text.slice(0, 80), status, at(body, 'code')]).toEqual([
        text.slice(0, 80),
        422,
        'BAD_USER_INPUT',
      ]);
    }
    for (const text of [
      '{"version":1e400}',
      '{"version":"1"}',
      '{"version":1.5}',
      '{"name":null}',
      '{"credentials":7}',
    ]) {
      expect([text, (await rest('PATCH', `${okta}/${id}`, text)).status]).toEqual([text, 422]);
    }
    expect(Object.hasOwn(Object.prototype, 'name')).toBe(false);
  });

  test('says what to give instead of a missing value or one of another type', async () => {
    const { rest } = await fresh();
    const { id } = await createConnectionOverRest(rest);
    for (const [method, path, input, issue] of [
      ['POST', okta, { name: 'x' }, 'credentials: Give an object. Known members: '],
      ['POST', okta, oktaBody({ description: 1 }), 'description: Give a string.'],
      ['POST', okta, oktaBody({ name: 1 }), 'name: Give a string.'],
      ['POST', okta, oktaBody({ name: null }), 'name: The name is required.'],
      [
        'POST',
        okta,
        oktaBody({ method: 'password' }),
        'method: Okta has no such method. Give one of api-token, ',
      ],
      ['POST', '/api/v1/webhook-endpoints', { url: 7 }, 'url: Give a string.'],
      ['POST', okta, oktaBody({ onUnreachable: 'x' }), 'onUnreachable: Give one of FAIL, SAVE_UNVERIFIED.'],
      ['POST', `${okta}/${id}/convert`, {}, 'to: Give an object. Known members: '],
      ['PATCH', `${okta}/${id}`, { version: 'x' }, 'version: Give a number.'],
      ['PATCH', `${okta}/${id}`, { acknowledgeUse: 1 }, 'acknowledgeUse: Give true or false.'],
      ['POST', '/api/v1/api-keys', { name: 'x' }, 'scopes: The member is missing. Give an array.'],
    ] as const) {
      const { body } = await rest(method, path, input);
      expect(at(body, 'detail')).toMatch(issue);
    }
  });

  test('uses the last of duplicate JSON keys', async () => {
    const { rest } = await fresh();
    const body = JSON.stringify(oktaBody()).replace('{', '{"name":"first",');
    expect(at((await rest('POST', okta, body)).body, 'appConnection', 'name')).toBe('my-okta-connection');
  });

  test('gets 422 for an invalid id, name, cursor or parameter, before a database query', async () => {
    const { rest } = await fresh();
    const almost = unknownId.replace('8', 'g');
    for (const [path, field] of [
      [`${okta}/${almost}`, 'id'],
      [`${okta}/x`, 'id'],
      [`${okta}/%00`, 'id'],
      [`${okta}/%`, 'id'],
      [`${okta}/%7B${unknownId}%7D`, 'id'],
      [`${okta}/${unknownId}%7D`, 'id'],
      [`${okta}/${unknownId}%0A`, 'id'],
      [`${okta}/connection-name/%00`, 'name'],
      [`${okta}/connection-name/A%2FB`, 'name'],
      [`${okta}/connection-name/x?projectId=`, 'projectId'],
      [`${root}?projectId=${almost}`, 'projectId'],
      [`${root}?projectId=%00`, 'projectId'],
      [`${root}?cursor=%00`, 'cursor'],
      [`${root}?cursor=WzFd`, 'cursor'],
      [`${root}?cursor=${'x'.repeat(1_001)}`, 'cursor'],
      [`${root}?projectID=${unknownId}`, undefined],
      [`${root}?__proto__=x`, undefined],
    ] as const) {
      const { status, body } = await rest('GET', path);
      expect([path, status, at(body, 'issues', 0, 'path', 0)]).toEqual([path, 422, field]);
    }
  });

  test('that ends early is not logged as an error of the server', async () => {
    const { apiKey } = await server.newOrganisation();
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    const head = [
      'POST /api/v1/app-connections/okta HTTP/1.1',
      `host: ${hostname}`,
      `authorization: Bearer ${apiKey}`,
    ];
    socket.write(
      [...head, 'content-type: application/json', 'content-length: 500', '', '{"name":'].join('\r\n'),
    );
    const before = server.logs().length;
    await setTimeout(100);
    socket.destroy();
    await expect.poll(() => server.logs().slice(before)).toContain('ABORTED');
    expect(server.logs().slice(before)).not.toContain('unexpected error');
  });
});
