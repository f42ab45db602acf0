import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  buildRow,
  type ConnectionRow,
  createOrganisationWith,
  day,
  insertRows,
  listConnections,
  type Page,
  toNames,
} from './testkit/list-connections.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const fields = { NAME: 'name', CREATED_AT: 'createdAt', UPDATED_AT: 'updatedAt' } as const;

interface Reading {
  orderBy: { field: keyof typeof fields; direction: string };
  size: number;
  isBackward: boolean;
}

const readings: fc.Arbitrary<Reading> = fc.record({
  orderBy: fc.record({
    field: fc.constantFrom('NAME', 'CREATED_AT', 'UPDATED_AT'),
    direction: fc.constantFrom('ASC', 'DESC'),
  }),
  size: fc.integer({ min: 1, max: 10 }),
  isBackward: fc.boolean(),
});

/** Few names and times, so that many rows are equal. */
const name = fc.stringMatching(/^[ab1](-?[ab1]){0,2}$/);
const rows = fc.uniqueArray(
  fc
    .record({
      name,
      projectId: fc.constantFrom(null, 'any'),
      createdAt: fc.integer({ min: 1, max: 3 }).map(day),
      updatedAt: fc.integer({ min: 4, max: 6 }).map(day),
    })
    .map(buildRow),
  { maxLength: 25, selector: ({ name, projectId }) => `${projectId} ${name}` },
);

function inOrder(rows: readonly ConnectionRow[], { field, direction }: Reading['orderBy']): string[] {
  const key = (each: ConnectionRow) => `${each[fields[field]]} ${each.id}`;
  const sorted = [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1)).map(({ id }) => id);
  return direction === 'ASC' ? sorted : sorted.reverse();
}

const getIds = (pages: readonly Page[]) => pages.flatMap(({ nodes }) => nodes.map(({ id }) => id));

/** Reads all pages, calls a function between them, and returns the pages in list order. */
async function readAll(
  organisation: TestOrganisation,
  { orderBy, size, isBackward }: Reading,
  between?: () => Promise<void>,
): Promise<Page[]> {
  const pages: Page[] = [];
  for (let cursor: string | null = null, isMore = true; isMore; await between?.()) {
    const way = isBackward ? { last: size, before: cursor } : { first: size, after: cursor };
    const page: Page = await listConnections(organisation, { orderBy, ...way });
    pages.push(page);
    cursor = isBackward ? page.pageInfo.startCursor : page.pageInfo.endCursor;
    isMore = isBackward ? page.pageInfo.hasPreviousPage : page.pageInfo.hasNextPage;
  }
  return isBackward ? pages.reverse() : pages;
}

describe('paging through all connections', () => {
  it('returns each connection once in each order and direction, with correct hasPreviousPage and hasNextPage', async () => {
    await fc.assert(
      fc.asyncProperty(rows, readings, async (given, reading) => {
        const organisation = await createOrganisationWith(server, given);
        const pages = await readAll(organisation, reading);
        expect(getIds(pages)).toEqual(inOrder(organisation.rows, reading.orderBy));
        expect(pages).toHaveLength(Math.max(1, Math.ceil(given.length / reading.size)));
        for (const [i, { pageInfo, totalCount }] of pages.entries()) {
          expect(pageInfo.hasPreviousPage).toBe(i > 0);
          expect(pageInfo.hasNextPage).toBe(i < pages.length - 1);
          expect(totalCount).toBe(given.length);
        }
      }),
      { numRuns: 30 * times },
    );
  });

  it('returns each existing connection once while others are inserted', async () => {
    const additions = fc.array(fc.tuple(name, fc.integer({ min: 1, max: 6 })), {
      minLength: 8,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(rows, readings, additions, async (given, reading, additions) => {
        const organisation = await createOrganisationWith(server, given);
        const added = additions.map(([start, d], i) =>
          buildRow({ name: `${start}-z${i}`, createdAt: day(d), updatedAt: day(d) }),
        );
        const waiting = [...added];
        const pages = await readAll(organisation, reading, () =>
          insertRows(server, organisation, waiting.splice(0, 1)),
        );
        const seen = getIds(pages);
        const before = inOrder(organisation.rows, reading.orderBy);
        expect(seen.filter((id) => before.includes(id))).toEqual(before);
        const everything = inOrder([...organisation.rows, ...added], reading.orderBy);
        expect(seen).toEqual(everything.filter((id) => seen.includes(id)));
      }),
      { numRuns: 20 * times },
    );
  });
});

describe('a page of connections', () => {
  let organisation: TestOrganisation;
  beforeAll(async () => {
    organisation = await createOrganisationWith(
      server,
      ['a', 'b', 'c', 'd', 'e'].map((name, i) =>
        buildRow({ name, createdAt: day(9 - i), updatedAt: day(9 + i) }),
      ),
    );
  });

  it.each<[Record<string, unknown>, string[], [boolean, boolean]]>([
    [{}, ['a', 'b', 'c', 'd', 'e'], [false, false]],
    [{ orderBy: null }, ['a', 'b', 'c', 'd', 'e'], [false, false]],
    [{ orderBy: { field: 'CREATED_AT' } }, ['e', 'd', 'c', 'b', 'a'], [false, false]],
    [{ orderBy: { field: 'NAME', direction: 'DESC' }, first: 2 }, ['e', 'd'], [false, true]],
    [{ orderBy: { field: 'UPDATED_AT', direction: 'DESC' }, last: 2 }, ['b', 'a'], [true, false]],
    [{ first: 2 }, ['a', 'b'], [false, true]],
    [{ last: 2 }, ['d', 'e'], [true, false]],
    [{ last: 5 }, ['a', 'b', 'c', 'd', 'e'], [false, false]],
  ])('has the requested order with %o', async (variables, names, [hasPrevious, hasNext]) => {
    const page = await listConnections(organisation, variables);
    expect(toNames(page)).toEqual(names);
    expect(page.pageInfo).toMatchObject({ hasPreviousPage: hasPrevious, hasNextPage: hasNext });
  });

  it('continues from either end', async () => {
    const { pageInfo } = await listConnections(organisation, { first: 3 });
    const next = await listConnections(organisation, { after: pageInfo.endCursor });
    expect(toNames(next)).toEqual(['d', 'e']);
    expect(next.pageInfo).toMatchObject({ hasPreviousPage: true, hasNextPage: false });
    const back = await listConnections(organisation, { before: next.pageInfo.startCursor, last: 2 });
    expect(toNames(back)).toEqual(['b', 'c']);
    expect(back.pageInfo).toMatchObject({ hasPreviousPage: true, hasNextPage: true });
    expect(toNames(await listConnections(organisation, { before: back.pageInfo.startCursor }))).toEqual([
      'a',
    ]);
  });

  it('continues from the cursor of a deleted connection', async () => {
    const another = await createOrganisationWith(
      server,
      ['a', 'b', 'c'].map((name) => buildRow({ name })),
    );
    const first = await listConnections(another, { first: 2 });
    await server
      .asOwner()
      .execute(`delete from app_connection where org_id = ? and name < 'c'`, [another.orgId]);
    const next = await listConnections(another, { first: 2, after: first.pageInfo.endCursor });
    expect(toNames(next)).toEqual(['c']);
    expect(next.pageInfo.hasPreviousPage).toBe(false);
  });

  it('contains nothing of another organisation, even with its cursor', async () => {
    const { pageInfo } = await listConnections(organisation, { first: 1 });
    const other = await createOrganisationWith(server, [buildRow({ name: 'z' })]);
    const page = await listConnections(other, { after: pageInfo.endCursor });
    expect(toNames(page)).toEqual(['z']);
    expect(page.pageInfo.hasPreviousPage).toBe(false);
  });

  it('queries the other side of a cursor only when the client selects it', async () => {
    const { pageInfo } = await listConnections(organisation, { first: 1 });
    const countQueries = async (fields: string) => {
      const before = server.logs().length;
      const document = `query ($after: String) { appConnections(after: $after) { ${fields} } }`;
      await organisation.client.request(document, { after: pageInfo.endCursor });
      return server.logs().slice(before).split('from \\"app_connection\\"').length - 1;
    };
    expect(await countQueries('nodes { id } pageInfo { hasNextPage startCursor endCursor }')).toBe(1);
    expect(await countQueries('nodes { id } pageInfo { hasPreviousPage }')).toBe(2);
  });
});
