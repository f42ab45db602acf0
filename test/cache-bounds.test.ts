import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Source } from 'graphql';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createLog } from '../src/common/log.ts';
import { defaultRates } from '../src/rate-limits/defaults.ts';
import { createRateLimits } from '../src/rate-limits/rate-limits.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 120_000 });

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer();
  organisation = await server.newOrganisation();
});
afterAll(() => server.close());

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** The documents that this process, which includes the server, has parsed. */
const documents = new Set<WeakRef<Source>>();
const library: { Source: typeof Source } = createRequire(import.meta.url)('graphql/language/source.js');
const original = library.Source;
// V8 can count objects too (`queryObjects`), but collects garbage seven times for it.
library.Source = class extends original {
  constructor(...given: ConstructorParameters<typeof Source>) {
    super(...given);
    documents.add(new WeakRef(this));
  }
};
afterAll(() => {
  library.Source = original;
});

/** Collects garbage, and counts the documents that are still referenced. */
async function countDocuments(): Promise<number> {
  // A WeakRef keeps its object until the task that made it has ended.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  for (const document of documents) if (!document.deref()) documents.delete(document);
  return documents.size;
}

type Send = (query: string) => Promise<unknown>;
const post: Send = async (query) => {
  const response = await fetch(server.graphqlUrl, {
    method: 'POST',
    headers: { authorization: `Bearer ${organisation.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  });
  return response.json();
};
const get: Send = async (query) => {
  const parameters = new URLSearchParams({ query });
  const headers = { authorization: `Bearer ${organisation.apiKey}` };
  return (await fetch(`${server.graphqlUrl}?${parameters}`, { headers })).json();
};
/** Sends what a page of another site can make a browser send: no key, no preflight. */
const getFromElsewhere: Send = async (query) => {
  const headers = { 'sec-fetch-site': 'cross-site', origin: 'https://elsewhere.example' };
  return (await fetch(`${server.graphqlUrl}?${new URLSearchParams({ query })}`, { headers })).text();
};

const many = (count: number, text: string) => Array.from({ length: count }, () => text).join(' ');

describe('a document is not cached when it', () => {
  it.each<[string, Send, (index: number) => string]>([
    ['does not parse', post, (index) => `{ a${index} ${many(1_900, '{')}`],
    ['does not validate', post, (index) => `{ a${index} { ${many(450, '... { b }')} } }`],
    ['does not validate, with GET', get, (index) => `{ a${index} { ${many(200, '... { b }')} } }`],
    ['has too many tokens', post, (index) => `{ a${index} ${many(2_100, 'b')} }`],
    [
      'costs too much',
      post,
      (index) =>
        `{ a${index}: __typename ${many(3, '...P')} } fragment P on Query { ${['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `${name}: appConnections(first: 100) { nodes { id name verification { status checkedAt message } credentials { instanceUrl } } }`).join(' ')} }`,
    ],
    [
      'has variables of wrong types',
      post,
      (index) =>
        `query ($v${index}: Int!) { __typename @skip(if: true) viewer { scopes } appConnections(first: $v${index}) { totalCount } }`,
    ],
    [
      'comes from another site',
      getFromElsewhere,
      (index) => `{ a${index}: __schema { queryType { name } } ${many(9, '__typename')} }`,
    ],
    ['comes from another site and fails', getFromElsewhere, (index) => `{ a${index}: viewer { scopes } }`],
  ])('%s', async (_, send, document) => {
    await send(document(-1));
    const before = await countDocuments();
    for (let index = 0; index < 12; index += 1) await send(document(index));
    expect((await countDocuments()) - before).toBeLessThan(5);
  });
});

describe('rate limits of addresses', () => {
  it('use bounded memory for any number of addresses', async () => {
    const limits = createRateLimits({ database: {}, log: createLog('silent') }, defaultRates);
    let next = 0;
    const heapAfter = async (count: number) => {
      for (const end = next + count; next < end; next += 1) {
        await limits.checkUnauthenticated(
          `2001:db8:${(next >> 16).toString(16)}:${(next & 0xffff).toString(16)}::1`,
        );
      }
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = await heapAfter(30_000);
    expect((await heapAfter(60_000)) - before).toBeLessThan(3_000_000);
  });
});

describe('the document cache', () => {
  it('parses a repeated document once', async () => {
    const before = await countDocuments();
    for (let index = 0; index < 20; index += 1) await post('{ viewer { scopes } again: __typename }');
    const added = (await countDocuments()) - before;
    expect(added).toBeGreaterThan(0);
    expect(added).toBeLessThan(3);
  });

  it.each<[string, Send, (index: number) => string, number, number]>([
    // Some 1 MB each.
    [
      'documents of 1,900 tokens',
      post,
      (index) => `{ a${index}: __typename ${many(470, '... { __typename }')} }`,
      16,
      30,
    ],
    [
      'documents of 1,900 tokens, with GET',
      get,
      (index) => `{ g${index}: __typename ${many(470, '...{__typename}')} }`,
      16,
      30,
    ],
    // Some 180 kB each, and a token for each comment.
    [
      'documents of one long comment',
      post,
      (index) => `{ c${index}: __typename } # ${'x'.repeat(90_000)}`,
      95,
      110,
    ],
    [
      'documents of very many comments',
      post,
      (index) => `{ d${index}: __typename } ${'#\n'.repeat(40_000)}`,
      0,
      10,
    ],
  ])('holds at most 16 MiB: %s', async (_, send, document, most, count) => {
    const before = await countDocuments();
    for (let index = 0; index < count; index += 1) await send(document(index));
    expect((await countDocuments()) - before).toBeLessThan(most + 5);
    expect(await post('{ viewer { scopes } }')).toMatchObject({ data: { viewer: expect.anything() } });
  });
});
