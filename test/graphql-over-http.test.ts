import { randomBytes } from 'node:crypto';
import { serverAudits } from 'graphql-http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { prepareFixture } from './testkit/fuzz/fixture.ts';
import { graphqlBody } from './testkit/fuzz/graphql.ts';
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

/** Yoga answers requests whose Accept header has parameters; the fast path answers the others. */
const ways = {
  short: (accept: string | null) => accept ?? '*/*',
  long: (accept: string | null) => `${accept ?? '*/*'};q=1`,
};

describe.each(Object.entries(ways))('the GraphQL-over-HTTP specification on the %s path', (_, acceptOf) => {
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
    it(`${id}: ${name}`, async () => {
      const result = await fn();
      expect(result.status === 'ok' ? 'ok' : `${result.status}: ${result.reason}`).toBe('ok');
    });
  }
});

describe('the fast path and Yoga', () => {
  /** Returns the deterministic parts of a response. */
  async function send(
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
    const rest = [...response.headers].filter(
      ([name]) =>
        !['date', 'x-request-id', 'content-length', 'transfer-encoding', 'keep-alive'].includes(name),
    );
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
    // A stream has no end.
    if (isStream) await response.body?.cancel();
    const text = isStream
      ? 'events'
      : (await response.text()).replace(/"requestId":"[^"]*"/g, '"requestId":""');
    return { status: response.status, headers: Object.fromEntries(rest), text };
  }

  /** Returns the errors of a response without data; undefined for other responses. */
  function fatalErrors({ text }: Awaited<ReturnType<typeof send>>): string[] | undefined {
    if (!text.startsWith('{')) return undefined;
    const { data, errors } = JSON.parse(text);
    return data === null ? errors.map((error: unknown) => JSON.stringify(error)) : undefined;
  }

  /**
   * For a response without data, the specification allows omitting errors of fields that fail after the fatal one. Which
   * ones those are depends on timing, so it suffices that both responses share one error.
   */
  function expectSameResponse(one: Awaited<ReturnType<typeof send>>, other: typeof one): void {
    const [errors, others] = [fatalErrors(one), fatalErrors(other)];
    if (!errors || !others) {
      expect(one).toEqual(other);
      return;
    }
    expect({ ...one, text: '' }).toEqual({ ...other, text: '' });
    expect(errors).toSatisfy(() => errors.some((error) => others.includes(error)));
  }

  const schema = createSchema(createApps({ trustedHosts: new Set() }));
  let ground: Awaited<ReturnType<typeof prepareFixture>>;
  beforeAll(async () => {
    ground = await prepareFixture(server.url, apiKey, projectId);
  });
  const hostileBody = (seed: number) =>
    JSON.stringify(graphqlBody(new Random(seed), ground, schema)) ?? 'null';

  const accepts = ['*/*', 'application/json', 'application/graphql-response+json, application/json'];

  it('answer 200 hostile documents and variables identically', async () => {
    const statuses = new Set<number>();
    for (let seed = 1; seed <= 200; seed += 1) {
      const body = hostileBody(seed);
      const accept = accepts[seed % accepts.length] ?? '';
      const short = await send('short', accept, body);
      const long = await send('long', accept, body);
      expectSameResponse(short, long);
      statuses.add(short.status);
    }
    // Some of the documents may be too large: the generator builds them from the schema.
    statuses.delete(413);
    expect([...statuses].toSorted()).toEqual([200, 400, 406]);
  });

  /** Sends the document once, so that it is cached and the fast path executes it. */
  const warmUp = (body: string) => send('long', '*/*', body);

  it('answer 20 repeated hostile documents identically', async () => {
    for (let seed = 201; seed <= 220; seed += 1) {
      const body = hostileBody(seed);
      await warmUp(body);
      const [short, long] = [await send('short', '*/*', body), await send('long', '*/*', body)];
      expectSameResponse(short, long);
    }
  });

  const id = 'ab33fbf7-5da7-4ef1-9d61-0f9b3bbe8b39';
  const name = 'a-name';
  const [url, hidden] = ['https://example.okta.com', `token-${randomBytes(12).toString('hex')}`];
  const create = 'mutation Create($input: CreateOktaConnectionInput!)';
  const fields =
    'id name app method createdAt credentials { __typename instanceUrl } verification { status }';
  it.each<[string, string, object[]]>([
    ['a read', `query Read($id: UUID!) { appConnection(id: $id) { ${fields} } }`, [{ id }, { id: 'no' }, {}]],
    [
      'a page',
      `query ($first: Int, $after: String) {
        appConnections(first: $first, after: $after) { nodes { ${fields} } pageInfo { hasNextPage } totalCount }
      }`,
      [{}, { first: 1 }, { first: 0 }, { first: 'one' }, { after: 'nowhere' }, { after: null, other: 1 }],
    ],
    [
      'an order with a default',
      'query ($by: AppConnectionOrder) { appConnections(orderBy: $by) { nodes { name } } }',
      [
        {},
        { by: { field: 'NAME' } },
        { by: { field: 'NAME', direction: null } },
        { by: { direction: 'ASC' } },
      ],
    ],
    [
      'fragments and conditions',
      `query ($id: UUID!, $no: Boolean = false, $yes: Boolean!) {
        constructor: appConnection(id: $id) @skip(if: $no) { ...these toString: name }
        viewer { scopes @include(if: $yes) ...on Viewer { __typename } }
      }
      fragment these on AppConnection { id updatedAt }`,
      [{ id, yes: true }, { id, yes: false, no: true }, { id }, { id, yes: 'yes' }],
    ],
    [
      'a field alias __proto__',
      'query ($id: UUID!) { __proto__: appConnection(id: $id) { __proto__: name } }',
      [{ id }],
    ],
    ['fields without permission', '{ projects { totalCount } auditEvents { nodes { seq } } }', [{}]],
    [
      'a mutation without permission',
      `${create} { createOktaConnection(input: $input) { appConnection { id } } }`,
      [
        { input: { name, credentials: { instanceUrl: url, apiToken: hidden } } },
        { input: { name, credentials: { instanceUrl: url, apiToken: 1 } } },
        { input: { name, credentials: { instanceUrl: url }, onUnreachable: 'PERHAPS' } },
        { input: { Name: hidden, credentials: hidden } },
        { input: hidden },
      ],
    ],
  ])('answer identically when sent repeatedly: %s', async (_, query, inputs) => {
    const use = JSON.stringify({ query, variables: inputs[0] });
    await warmUp(use);
    for (const variables of inputs) {
      for (const operationName of [undefined, 'Read', 'Another']) {
        const body = JSON.stringify({ query, variables, operationName });
        const short = await send('short', 'application/json', body);
        expect(short).toEqual(await send('long', 'application/json', body));
        expect(short.text).not.toContain(hidden);
      }
    }
    for (const more of [{ variables: [] }, { variables: 'x' }, { extensions: 1 }, { id }, { query: 1 }]) {
      const body = JSON.stringify({ query, variables: inputs[0], ...more });
      expect(await send('short', '*/*', body)).toEqual(await send('long', '*/*', body));
    }
    for (const authorization of ['Bearer unknown-key', '']) {
      expect(await send('short', '*/*', use, { authorization })).toEqual(
        await send('long', '*/*', use, { authorization }),
      );
    }
  });

  it.each<[string, string | Buffer<ArrayBuffer>, object?]>([
    ['a valid query', '{"query":"{ viewer { scopes } }"}'],
    ['a query with partial errors', '{"query":"{ viewer { scopes } projects { totalCount } }"}'],
    ['a subscription', '{"query":"subscription { appConnectionChanged { kind } }"}'],
    ['an unknown API key', '{"query":"{ viewer { scopes } }"}', { authorization: 'Bearer unknown-key' }],
    ['invalid JSON', '{"query":'],
    ['a list', '[{"query":"{ viewer { scopes } }"}]'],
    ['invalid UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0xc3, 0x28, 0x22])],
    ['an empty body', ''],
    [
      'a body over the size limit',
      JSON.stringify({ query: `{ viewer { scopes } } # ${randomBytes(60_000).toString('hex')}` }),
    ],
    ['a form', 'query=x', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['a gzip body', '{}', { 'content-encoding': 'gzip' }],
  ])('answer identically: %s', async (_, body, headers) => {
    for (const accept of accepts) {
      expect(await send('short', accept, body, headers)).toEqual(await send('long', accept, body, headers));
    }
  });
});
