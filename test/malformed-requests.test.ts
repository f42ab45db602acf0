import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at, oktaBody } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

let server: TestServer;
let apiKey: string;
beforeAll(async () => {
  server = await startTestServer();
  ({ apiKey } = await server.newOrganisation());
});
afterAll(() => server.close());

async function post(path: string, body: string | Buffer<ArrayBuffer>, headers: Record<string, string> = {}) {
  const response = await fetch(server.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
    body,
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text };
}

const query = JSON.stringify({ query: '{ viewer { __typename } }' });
const apis = [
  // With the second Accept header, Yoga answers instead of the fast path.
  ['GraphQL', '/graphql', { accept: 'application/json' }],
  ['GraphQL', '/graphql', { accept: 'application/json;q=1' }],
  ['REST', '/api/v1/app-connections/okta', {}],
] as const;

/** Returns code, message and remedy of an error of either API. */
function problemIn(text: string) {
  const body: unknown = JSON.parse(text);
  const error = at(body, 'errors', 0);
  if (error === undefined) {
    return { code: at(body, 'code'), message: at(body, 'detail'), remedy: at(body, 'remedy') };
  }
  const extensions = at(error, 'extensions');
  return { code: at(extensions, 'code'), message: at(error, 'message'), remedy: at(extensions, 'remedy') };
}

describe.each(apis)('%s at %s with %o explains a malformed body', (api, path, accept) => {
  const good = api === 'GraphQL' ? query : JSON.stringify(oktaBody());

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
  ])('compressed with %s', async (coding, compress) => {
    const sent = await post(path, Buffer.from(compress(good)), { ...accept, 'content-encoding': coding });
    expect(sent.status).toBe(415);
    expect(sent.headers.get('accept-encoding')).toBe('identity');
    const { code, message, remedy } = problemIn(sent.text);
    expect(code).toBe('BAD_USER_INPUT');
    expect(message).toContain(`Content-Encoding: ${coding}`);
    expect(remedy).toContain('uncompressed');
  });

  test('compressed with gzip without Content-Encoding', async () => {
    const sent = await post(path, Buffer.from(gzipSync(good)), accept);
    expect(sent.status).toBe(400);
    expect(problemIn(sent.text)).toMatchObject({
      code: 'BAD_USER_INPUT',
      message: expect.stringContaining('gzip'),
      remedy: expect.stringContaining('uncompressed'),
    });
  });

  test('with an unknown Content-Encoding, without echoing it', async () => {
    const sent = await post(path, good, { ...accept, 'content-encoding': 'planted' });
    expect(sent.status).toBe(415);
    expect(problemIn(sent.text).message).toContain('compressed');
    expect(sent.text).not.toContain('planted');
  });

  test.each(['utf-8', 'UTF8', 'planted, gzip', 'text/plain'])(
    'with Content-Encoding %s, without calling it compressed',
    async (coding) => {
      const sent = await post(path, good, { ...accept, 'content-encoding': coding });
      expect(sent.status).toBe(415);
      const { message, remedy } = problemIn(sent.text);
      expect(message).toContain('The Content-Encoding is unknown');
      expect(remedy).toContain('A charset belongs to Content-Type');
    },
  );

  test.each([
    ['one request', 1],
    ['two requests', 2],
  ])('that is an array of %s', async (_, length) => {
    const sent = await post(path, `[${Array(length).fill(good)}]`, accept);
    expect(sent.status).toBe(400);
    const { message, remedy } = problemIn(sent.text);
    expect(message).toContain('is an array');
    expect(remedy).toContain('Send one request at a time');
  });

  test.each(['latin1', 'utf-16', '"iso-8859-1"', 'utf-7'])('with the charset %s', async (charset) => {
    const type = `application/json; charset=${charset}`;
    const sent = await post(path, good, { ...accept, 'content-type': type });
    expect(sent.status).toBe(415);
    expect(sent.headers.get('accept')).toBe('application/json');
    expect(problemIn(sent.text)).toMatchObject({
      message: expect.stringContaining('charset other than UTF-8'),
      remedy: expect.stringContaining('Content-Type: application/json'),
    });
  });

  test.each(['text/plain', 'application/graphql', 'application/x-www-form-urlencoded', 'json'])(
    'with the content type %s',
    async (type) => {
      const sent = await post(path, good, { ...accept, 'content-type': type });
      expect(sent.status).toBe(415);
      expect(problemIn(sent.text).message).toContain('not application/json');
    },
  );

  test.each([
    'application/json;charset=utf8',
    'application/json; charset=UTF8',
    'application/json; charset="utf-8"',
    'Application/JSON ;charset = UTF-8;',
  ])('and accepts %s as JSON in UTF-8', async (type) => {
    const name = `sent-as-${Buffer.from(type).toString('hex').slice(-20)}`;
    const body = api === 'GraphQL' ? query : JSON.stringify(oktaBody({ name }));
    const sent = await post(path, body, { ...accept, 'content-type': type, 'content-encoding': 'identity' });
    expect([sent.status, sent.text]).toEqual([200, expect.not.stringContaining('errors')]);
  });
});

describe.each(['application/json', 'application/json;q=1'])(
  'GraphQL over %s explains how to correct a request',
  (accept) => {
    const two = 'query A { viewer { __typename } } query B { viewer { __typename } }';

    test.each([
      ['without a document', {}, 'Send the document as query'],
      ['whose document is null', { query: null }, 'Send the document as query'],
      ['with several operations and no name', { query: two }, 'operationName'],
      ['with the name of no operation', { query: two, operationName: 'C' }, 'operationName'],
      ['that names a stored document', { documentId: 'planted' }, 'Send query, variables, operationName'],
      ['with onError', { query: two, operationName: 'A', onError: 'NULL' }, 'Send query, variables'],
    ])('%s', async (_, body, words) => {
      const sent = await post('/graphql', JSON.stringify(body), { accept });
      expect(sent.status).toBe(400);
      expect(problemIn(sent.text)).toMatchObject({
        code: 'BAD_USER_INPUT',
        remedy: expect.stringContaining(words),
      });
      expect(sent.text).not.toContain('planted');
    });

    test('with the query in the URL of a POST', async () => {
      const sent = await post('/graphql?query={viewer{__typename}}', '{}', { accept });
      expect(problemIn(sent.text).remedy).toContain('in the JSON body of a POST');
    });
  },
);

describe('empty operationName', () => {
  test.each([
    ['a query without a name', '{ viewer { __typename } }'],
    ['a query with a name', 'query Who { viewer { __typename } }'],
    ['a mutation', 'mutation Make { createProject(input: { name: "a" }) { __typename } }'],
  ])('is treated as absent for %s, on both paths and however often it is sent', async (_, document) => {
    for (const accept of ['application/json', 'application/json;q=1']) {
      for (let use = 1; use <= 12; use += 1) {
        const body = JSON.stringify({
          query: document.replace('"a"', `"${accept.length}-${use}"`),
          operationName: '',
        });
        const { status, text } = await post('/graphql', body, { accept });
        expect([status, JSON.parse(text)]).toEqual([200, { data: expect.anything() }]);
      }
    }
  });

  test('is treated as absent for a query over GET', async () => {
    const url = `${server.graphqlUrl}?operationName=&variables=&extensions=&query=${encodeURIComponent('query Who { viewer { __typename } }')}`;
    const response = await fetch(url, { headers: { authorization: `Bearer ${apiKey}` } });
    expect(await response.json()).toEqual({ data: { viewer: { __typename: 'Viewer' } } });
  });

  test('is treated as absent for a subscription', async () => {
    const document = 'subscription Watch { appConnectionChanged { kind } }';
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        accept: 'text/event-stream',
      },
      body: JSON.stringify({ query: document, operationName: '' }),
    });
    const reader = response.body?.getReader();
    const first = await reader?.read();
    // A refused subscription starts with an event, an accepted one with a comment.
    expect(new TextDecoder().decode(first?.value)).toBe(':\n\n');
    await reader?.cancel();
  });
});

describe('subscription request', () => {
  const subscription = 'subscription { appConnectionChanged { kind } }';

  test.each([
    'application/json',
    'application/graphql-response+json',
    'application/json, text/html;q=0.9',
    // Apollo Client sends it like this.
    'multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9',
    'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json',
  ])('with Accept: %s is asked to send text/event-stream', async (accept) => {
    const { status, text, headers } = await post('/graphql', JSON.stringify({ query: subscription }), {
      accept,
    });
    expect(status).toBe(406);
    expect(headers.get('content-type')).toMatch(/^application\/(graphql-response\+)?json/);
    const { code, message, remedy } = problemIn(text);
    expect(code).toBe('BAD_USER_INPUT');
    expect(message).toContain('text/event-stream');
    expect(remedy).toContain('Accept: text/event-stream');
  });

  test.each([
    [subscription, 'multipart/mixed'],
    [subscription, 'text/html'],
    [subscription, 'image/png'],
    ['{ viewer { scopes } }', 'text/html'],
    ['{ viewer { scopes } }', 'image/png;q=0.5, text/csv'],
  ])(
    '%s with Accept: %s, which excludes JSON, gets the error as JSON nevertheless',
    async (query, accept) => {
      const { status, text, headers } = await post('/graphql', JSON.stringify({ query }), { accept });
      expect(status).toBe(406);
      expect(headers.get('content-type')).toBe('application/json; charset=utf-8');
      const { code, message, remedy } = problemIn(text);
      expect(code).toBe('BAD_USER_INPUT');
      expect(message).toContain('Accept header');
      expect(remedy).toMatch(/application\/json .*text\/event-stream/);
    },
  );

  test.each([
    'text/event-stream',
    '*/*',
    'text/*',
    'application/graphql-response+json, text/event-stream, multipart/mixed',
    'Text/Event-Stream; charset=utf-8',
  ])('with Accept: %s gets an event stream that disables proxy buffering', async (accept) => {
    await using events = await subscribe(server.graphqlUrl, apiKey, subscription, {}, { accept });
    expect(events.headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(events.headers.get('cache-control')).toBe('no-store, no-transform');
    expect(events.headers.get('x-accel-buffering')).toBe('no');
  });

  test('that is refused gets an event that disables proxy buffering', async () => {
    await using events = await subscribe(server.graphqlUrl, 'unknown-key', subscription);
    expect((await events.next()).errors?.[0]?.extensions.code).toBe('UNAUTHENTICATED');
    expect(events.headers.get('x-accel-buffering')).toBe('no');
  });
});
