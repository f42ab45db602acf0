import fc from 'fast-check';
import type { GraphQLClient } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  byIdQuery,
  type ConnectionFields,
  type Created,
  createMutation,
  type Listed,
  listQuery,
  okta,
} from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer, type WireError } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

// Created connections stay, so shrinking would run smaller examples against another state.
fc.configureGlobal({ endOnFailure: true });

let server: TestServer;
beforeAll(async () => {
  // No name resolves, so that no request reaches a real host.
  const lookup = async () => {
    throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' });
  };
  server = await startTestServer({ outbound: { lookup } });
});
afterAll(() => server.close());

type Outcome = { result: ConnectionFields; error?: undefined } | { result?: undefined; error: WireError };

/** Creates a connection, and expects exactly one connection or one error. */
async function attempt(client: GraphQLClient, variables: Record<string, unknown>): Promise<Outcome> {
  const request = client.request<Created>(createMutation, variables);
  const result = await request.then(
    ({ createOktaConnection }) => createOktaConnection.appConnection,
    () => undefined,
  );
  if (result) return { result };
  const [error, ...others] = await errorsOf(request);
  if (!error || others.length > 0) throw new Error('the request did not fail with exactly one error');
  return { error };
}

/** Asserts that an error rejects a value as every validation error does. */
function expectIssue(error: WireError, code: string, path: string[]): void {
  expect(error.extensions.code).toBe(code);
  expect(error.extensions.issues).toEqual(
    expect.arrayContaining([{ path, message: expect.stringMatching(/^\p{Lu}.*\.$/su) }]),
  );
  for (const issue of error.extensions.issues ?? []) expect(issue.path).toEqual(path);
}

const whiteSpace = fc.string({ unit: fc.constantFrom(' ', '\t', '\r', '\n', '\u00a0', '\u2003', '\ufeff') });
const around = (text: fc.Arbitrary<string>) =>
  fc.tuple(whiteSpace, text, whiteSpace).map((parts) => parts.join(''));

/** Any text, and text with a meaning to databases, shells, templates and parsers. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  // Any sequence of UTF-16 code units, including lone surrogates.
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  fc.string({
    unit: fc.constantFrom('?', '??', '$1', "'", '"', '`', '\\', '%', '_', ';--', '\0', '{}', ':a'),
  }),
  fc.string({
    unit: fc.constantFrom('\u2028', '\u202e', '\u0301', '\ud83d', '\ude00', '😀', 'ß', 'İ', '\x85'),
  }),
);

describe('random connection name', () => {
  const piece = fc.string({
    unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789'),
    minLength: 1,
    maxLength: 12,
  });
  const name = fc
    .array(piece, { minLength: 1, maxLength: 6 })
    .map((pieces) => pieces.join('-'))
    .filter((text) => text.length <= 64);

  test('that is valid is stored trimmed', async () => {
    const { client } = await server.newOrganisation();
    const taken = new Set<string>();
    await fc.assert(
      fc.asyncProperty(around(name), async (given) => {
        const { result, error } = await attempt(client, okta({ name: given }));
        if (taken.has(given.trim())) expect(error?.extensions.code).toBe('NAME_TAKEN');
        else expect(result?.name).toBe(given.trim());
        taken.add(given.trim());
      }),
      { numRuns: 30 * times },
    );
  });

  test('is stored unchanged or rejected with a remedy', async () => {
    const { client } = await server.newOrganisation();
    const nearly = fc
      .tuple(name, fc.constantFrom('-', '--', ' ', '_', '.', 'A', 'é', '١', '\0', '\n', 'x'.repeat(64)), name)
      .chain(([start, odd, end]) => fc.constantFrom(start + odd + end, odd + start, start + odd));
    await fc.assert(
      fc.asyncProperty(fc.oneof(anyText, nearly), async (given) => {
        const { result, error } = await attempt(client, okta({ name: given }));
        const isName = given.trim().length <= 64 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(given.trim());
        if (result) expect(result.name).toBe(given.trim());
        else expectIssue(error, isName ? 'NAME_TAKEN' : 'BAD_USER_INPUT', ['input', 'name']);
        expect(isName || !result).toBe(true);
      }),
      { numRuns: 100 * times, examples: [['a'.repeat(64)], ['a'.repeat(65)], ['a'.repeat(64)], ['']] },
    );
  });
});

describe('random description', () => {
  const names = (function* () {
    for (let number = 1; ; number += 1) yield `number-${number}`;
  })();
  const nextName = () => String(names.next().value);

  async function stored(client: GraphQLClient, id: string): Promise<string | null> {
    const { appConnection } = await client.request<{ appConnection: ConnectionFields }>(byIdQuery, { id });
    return appConnection.description;
  }

  test('without control characters is stored trimmed', async () => {
    const { client } = await server.newOrganisation();
    const text = around(anyText)
      .map((given) => given.toWellFormed().replace(/[^\P{Cc}\t\n\r]|[\u202a-\u202e\u2066-\u2069]/gu, ''))
      .filter((given) => given.length <= 256);
    await fc.assert(
      fc.asyncProperty(text, async (description) => {
        const { result } = await attempt(client, okta({ name: nextName(), description }));
        expect(result?.description).toBe(description.trim() || null);
        expect(await stored(client, result?.id ?? '')).toBe(description.trim() || null);
      }),
      // Emoji, because the limit counts characters, not code units.
      { numRuns: 100 * times, examples: [['😀'.repeat(256)]] },
    );
  });

  test('is stored unchanged or rejected with a remedy', async () => {
    const { client } = await server.newOrganisation();
    await fc.assert(
      fc.asyncProperty(anyText, fc.nat(40), async (text, times) => {
        const description = text.repeat(times + 1);
        const { result, error } = await attempt(client, okta({ name: nextName(), description }));
        if (result) expect(await stored(client, result.id)).toBe(description.trim() || null);
        else expectIssue(error, 'BAD_USER_INPUT', ['input', 'description']);
      }),
      { numRuns: 100 * times, examples: [['nul \0', 0]] },
    );
  });
});

describe('random instance URL', () => {
  const nowhere = ['localhost', '127.0.0.1', '10.0.0.1', '169.254.169.254', '0.0.0.0', '[::1]', '[fd00::1]'];

  /** Whether a text is not a URL, or a URL whose host does not exist. */
  function leadsNowhere(text: string): boolean {
    const host = URL.parse(text.trim())?.hostname.replace(/\.$/, '');
    return host === undefined || host === '' || host.endsWith('.invalid') || nowhere.includes(host);
  }

  const label = fc.string({ unit: fc.constantFrom(...'aZ0-_é'), minLength: 1, maxLength: 8 });
  const invalidHost = fc
    .array(label, { minLength: 1, maxLength: 3 })
    .map((labels) => [...labels, 'invalid'].join('.'));
  /** Mostly `usual`, so that a URL of several such parts is often almost valid. */
  const mostly = (usual: fc.Arbitrary<string>, ...odd: fc.Arbitrary<string>[]) =>
    fc.oneof({ weight: 5 * odd.length, arbitrary: usual }, ...odd);
  const shaped = fc
    .tuple(
      mostly(fc.constant('https://'), fc.constantFrom('HTTPS://', 'http://', 'https:', 'ftp://', '')),
      mostly(fc.constant(''), fc.constantFrom('user@', 'user:password@', '@')),
      mostly(
        invalidHost,
        anyText.map((text) => `${text}.invalid`),
        fc.constantFrom(...nowhere, '0x7f.1', '2130706433', '[::ffff:10.0.0.1]', 'LOCALHOST.', 'a..invalid'),
      ),
      mostly(fc.constant(''), fc.constantFrom(':443', ':8443', ':0', ':65536', ':x', ':')),
      fc.oneof(
        fc.constantFrom('', '/'),
        fc.constantFrom('/path', '/../', '?', '?q=1', '#', '#f', '\\'),
        anyText,
      ),
    )
    .map((parts) => parts.join(''));
  const instanceUrl = around(fc.oneof(shaped, anyText)).filter(leadsNowhere);

  test('is reduced to its origin or rejected with a remedy', async () => {
    const { client } = await server.newOrganisation();
    let number = 0;
    const create = (instanceUrl: string) => {
      number += 1;
      return attempt(
        client,
        okta({ name: `number-${number}`, onUnreachable: 'SAVE_UNVERIFIED' }, { instanceUrl }),
      );
    };
    const outcomes = new Set<string>();
    await fc.assert(
      fc.asyncProperty(instanceUrl, async (given) => {
        const { result, error } = await create(given);
        outcomes.add(result ? result.verification.status : error.extensions.code);
        if (error?.extensions.code === 'HOST_NOT_ALLOWED') return;
        if (error) return expectIssue(error, 'BAD_USER_INPUT', ['input', 'credentials', 'instanceUrl']);
        const origin = result.credentials.instanceUrl;
        const { pathname, search, hash, username } = new URL(given.trim());
        expect([pathname, search, hash, username]).toEqual(['/', '', '', '']);
        expect(result.verification).toMatchObject({ status: 'UNREACHABLE', code: 'UPSTREAM_UNREACHABLE' });
        expect(origin).toBe(new URL(given.trim()).origin.replace(/\.(?=$|:\d+$)/, ''));
        const again = await create(origin);
        expect(again.result?.credentials.instanceUrl).toBe(origin);
        expect(again.result?.credentialsHash).toBe(result.credentialsHash);
      }),
      {
        numRuns: 150 * times,
        // Fixed examples, so that every run has each outcome.
        examples: [['https://acme.invalid'], ['https://127.0.0.1:443/'], ['acme.invalid']],
      },
    );
    expect(outcomes).toEqual(new Set(['UNREACHABLE', 'HOST_NOT_ALLOWED', 'BAD_USER_INPUT']));
  });
});

describe('pages of a list', () => {
  type Node = Listed['appConnections']['nodes'][number];
  /** A name and whether it is in the project. Names repeat, so that cursors need the id. */
  const place = fc.record({
    name: fc
      .constantFrom('0', '9', 'a', 'a-', 'a-1', 'a1', 'aa', 'b', 'm', 'z', 'z-z')
      .map((n) => n.replace(/-$/, '')),
    inProject: fc.boolean(),
  });
  const inOrder = (nodes: readonly Node[]) =>
    [...nodes].sort((a, b) => (a.name === b.name ? (a.id < b.id ? -1 : 1) : a.name < b.name ? -1 : 1));

  test('contain every connection that existed at the start exactly once during concurrent changes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(place, { minLength: 6, maxLength: 16, selector: (p) => `${p.name} ${p.inProject}` }),
        fc.integer({ min: 4, max: 12 }),
        fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 5 }) }, fc.integer({ min: 6, max: 100 })),
        fc.constantFrom(...(['everything', 'everything', 'of the project', 'without a project'] as const)),
        async (places, fromTheStart, first, filter) => {
          const { client, projectId } = await server.newOrganisation();
          const createConnection = async ({ name, inProject }: { name: string; inProject: boolean }) => {
            const { result, error } = await attempt(client, okta({ name, ...(inProject && { projectId }) }));
            if (!result) throw new Error(`"${name}" was not created: ${JSON.stringify(error)}`);
            return { id: result.id, name, projectId: inProject ? projectId : null };
          };
          const scope = {
            everything: {},
            'of the project': { projectId },
            'without a project': { projectId: null },
          };
          const within = ({ projectId: id }: Node) =>
            filter === 'everything' || (filter === 'of the project') === (id !== null);
          const early = await Promise.all(places.slice(0, fromTheStart).map(createConnection));
          const late = places.slice(fromTheStart);

          const seen: Node[] = [];
          let after: string | null = null;
          for (let more = true; more; ) {
            const page: Listed = await client.request(listQuery, { ...scope[filter], first, after });
            const { nodes, pageInfo } = page.appConnections;
            if (pageInfo.hasNextPage) expect(nodes).toHaveLength(first);
            seen.push(...nodes);
            after = pageInfo.endCursor;
            more = pageInfo.hasNextPage;
            const [next] = late.splice(0, 1);
            if (next) await createConnection(next);
          }

          expect(seen).toEqual(inOrder(seen));
          expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
          const ids = new Set(early.map(({ id }) => id));
          expect(seen.filter(({ id }) => ids.has(id))).toEqual(inOrder(early.filter(within)));
          expect(seen.filter((node) => !within(node))).toEqual([]);
        },
      ),
      { numRuns: 30 * times },
    );
  });
});
