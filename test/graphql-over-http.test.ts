import { randomBytes } from 'node:crypto';
import { serverAudits } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { createSchema } from '../src/graphql/schema.ts';
import { graphqlBody } from './testkit/fuzz/graphql.ts';
import { prepareGround } from './testkit/fuzz/ground.ts';
import { Random } from './testkit/fuzz/random.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
let apiKey: string;
let readOnly: string;
let projectId: string;
beforeAll(async () => {
  server = await startTestServer();
  const organisation = await server.newOrganisation();
  ({ apiKey, projectId } = organisation);
  readOnly = await organisation.newKey(['connections:read']);
});
afterAll(() => server.close());

/** An Accept header that says more than types is left to Yoga, which takes it for the same. */
const ways = {
  short: (accept: string | null) => accept ?? '*/*',
  long: (accept: string | null) => `${accept ?? '*/*'};q=1`,
};

describe.each(Object.entries(ways))(
  'GraphQL over HTTP, as its specification has it, the %s way',
  (_, acceptOf) => {
    const audits = serverAudits({
      url: () => server.graphqlUrl,
      fetchFn: (url: string, init: RequestInit = {}) => {
        const headers = new Headers(init.headers);
        headers.set('authorization', `Bearer ${apiKey}`);
        headers.set('accept', acceptOf(headers.get('accept')));
        return fetch(url, { ...init, headers });
      },
    });
    for (const { id, name, fn } of audits) {
      test(`${id}: ${name}`, async () => {
        const result = await fn();
        expect(result.status === 'ok' ? 'ok' : `${result.status}: ${result.reason}`).toBe('ok');
      });
    }
  },
);

describe('both ways lead to the same answer', () => {
  /** All of an answer that is not another each time. */
  async function answer(
    way: keyof typeof ways,
    accept: string,
    body: string | Buffer<ArrayBuffer>,
    headers = {},
  ) {
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${readOnly}`,
        'content-type': 'application/json',
        ...headers,
        accept: ways[way](accept),
      },
      body,
    });
    const kept = [...response.headers].filter(
      ([name]) =>
        !['date', 'x-request-id', 'content-length', 'transfer-encoding', 'keep-alive'].includes(name),
    );
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
    // A stream has no end.
    if (isStream) await response.body?.cancel();
    const text = isStream
      ? 'events'
      : (await response.text()).replace(/"requestId":"[^"]*"/g, '"requestId":""');
    return { status: response.status, headers: Object.fromEntries(kept), text };
  }

  const accepts = ['*/*', 'application/json', 'application/graphql-response+json, application/json'];

  test('to 200 hostile documents and variables', async () => {
    const ground = await prepareGround(server.url, apiKey, projectId);
    const schema = createSchema(createApps({ trustedHosts: new Set() }));
    const statuses = new Set<number>();
    for (let seed = 1; seed <= 200; seed += 1) {
      const body = JSON.stringify(graphqlBody(new Random(seed), ground, schema)) ?? 'null';
      const accept = accepts[seed % accepts.length] ?? '';
      const short = await answer('short', accept, body);
      expect(short).toEqual(await answer('long', accept, body));
      statuses.add(short.status);
    }
    expect([...statuses].toSorted()).toEqual([200, 400, 406]);
  });

  test.each<[string, string | Buffer<ArrayBuffer>, object?]>([
    ['a good query', '{"query":"{ viewer { scopes } }"}'],
    [
      'a query that may be carried out in part only',
      '{"query":"{ viewer { scopes } projects { totalCount } }"}',
    ],
    ['a subscription', '{"query":"subscription { appConnectionChanged { kind } }"}'],
    ['nobody', '{"query":"{ viewer { scopes } }"}', { authorization: 'Bearer nobody' }],
    ['what is no JSON', '{"query":'],
    ['a list', '[{"query":"{ viewer { scopes } }"}]'],
    ['what is no UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0xc3, 0x28, 0x22])],
    ['nothing', ''],
    [
      'too many bytes',
      JSON.stringify({ query: `{ viewer { scopes } } # ${randomBytes(60_000).toString('hex')}` }),
    ],
    ['a form', 'query=x', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['another encoding', '{}', { 'content-encoding': 'gzip' }],
  ])('to %s', async (_, body, headers) => {
    for (const accept of accepts) {
      expect(await answer('short', accept, body, headers)).toEqual(
        await answer('long', accept, body, headers),
      );
    }
  });
});
