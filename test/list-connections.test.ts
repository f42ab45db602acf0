import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import {
  buildRow,
  createOrganisationWith,
  day,
  listConnections,
  toNames,
} from './testkit/list-connections.ts';
import { createMutation, okta as oktaInput } from './testkit/operations.ts';
import { parcelDepot } from './testkit/second-app.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    apps: [...createApps({ trustedHosts: new Set() }), parcelDepot({ origin: 'https://depot.example' })],
  });
});
afterAll(() => server.close());

describe('filtering connections', () => {
  let organisation: TestOrganisation;
  beforeAll(async () => {
    organisation = await createOrganisationWith(server, [
      buildRow({ name: 'acme-okta', createdAt: day(1), updatedAt: day(9) }),
      buildRow({ name: 'acme-parcel', app: 'parcel-depot', createdAt: day(2), updatedAt: day(8) }),
      buildRow({
        name: 'beta-acme',
        status: 'REJECTED',
        createdAt: day(3),
        updatedAt: day(7),
        projectId: 'any',
      }),
      buildRow({
        name: 'beta-depot',
        app: 'parcel-depot',
        method: 'signed-requests',
        status: 'UNREACHABLE',
        createdAt: day(4),
        updatedAt: day(6),
      }),
    ]);
  });

  const [okta, depot, acme, signed] = ['acme-okta', 'acme-parcel', 'beta-acme', 'beta-depot'];
  it.each<[Record<string, unknown>, string[]]>([
    [{}, [okta, depot, acme, signed]],
    [{ app: null, status: null, nameContains: null, createdFrom: null }, [okta, depot, acme, signed]],
    [{ app: 'OKTA' }, [okta, acme]],
    [{ app: 'PARCEL_DEPOT' }, [depot, signed]],
    [{ method: 'API_TOKEN' }, [okta, depot, acme]],
    [{ method: 'SIGNED_REQUESTS' }, [signed]],
    [{ status: 'VERIFIED' }, [okta, depot]],
    [{ status: 'REJECTED' }, [acme]],
    [{ status: 'UNREACHABLE' }, [signed]],
    [{ namePrefix: 'acme' }, [okta, depot]],
    [{ namePrefix: 'acme-okta' }, [okta]],
    [{ namePrefix: ' ACME-o' }, [okta]],
    [{ nameContains: 'acme' }, [okta, depot, acme]],
    [{ nameContains: '-A' }, [acme]],
    [{ createdFrom: day(2), createdTo: day(3) }, [depot]],
    [{ createdFrom: day(3) }, [acme, signed]],
    [{ createdTo: day(3) }, [okta, depot]],
    [{ updatedFrom: day(7), updatedTo: day(9) }, [depot, acme]],
    [{ updatedFrom: day(8) }, [okta, depot]],
    [{ updatedTo: day(7) }, [signed]],
    [
      { app: 'PARCEL_DEPOT', status: 'VERIFIED', namePrefix: 'a', nameContains: 'e-p', createdTo: day(9) },
      [depot],
    ],
    [{ app: 'OKTA', method: 'SIGNED_REQUESTS' }, []],
  ])('returns and counts exactly the matches of %o', async (filter, names) => {
    const page = await listConnections(organisation, { filter });
    expect(toNames(page)).toEqual(names);
    expect(page.totalCount).toBe(names.length);
  });

  it.each(['%', '_', 'a%', 'acme_okta', '\\', '?', "'", '$1', '??', '\u{10ffff}', '*'])(
    'treats %s literally, not as a wildcard',
    async (text) => {
      expect(toNames(await listConnections(organisation, { filter: { namePrefix: text } }))).toEqual([]);
      expect(toNames(await listConnections(organisation, { filter: { nameContains: text } }))).toEqual([]);
    },
  );

  it('combines with the other arguments', async () => {
    const { projectId } = organisation;
    expect(
      toNames(await listConnections(organisation, { filter: { nameContains: 'acme' }, projectId })),
    ).toEqual([acme]);
    expect(
      toNames(await listConnections(organisation, { filter: { status: 'VERIFIED' }, app: 'OKTA' })),
    ).toEqual([okta]);
    expect(
      toNames(await listConnections(organisation, { filter: { app: 'PARCEL_DEPOT' }, app: 'OKTA' })),
    ).toEqual([]);
  });

  it('excludes deleted connections', async () => {
    const another = await server.newOrganisation();
    for (const name of ['kept', 'gone']) await another.client.request(createMutation, oktaInput({ name }));
    const [gone] = (await listConnections(another, { filter: { namePrefix: 'gone' } })).nodes;
    await another.client.request(gql`mutation ($id: UUID!) { deleteAppConnection(id: $id) { id } }`, {
      id: gone?.id,
    });
    expect(await listConnections(another, { filter: { createdFrom: day(1) } })).toMatchObject({
      totalCount: 1,
      nodes: [{ name: 'kept' }],
    });
  });
});

describe('listing connections with invalid arguments', () => {
  let organisation: TestOrganisation;
  beforeAll(async () => {
    organisation = await createOrganisationWith(server, [buildRow({ name: 'a' }), buildRow({ name: 'b' })]);
  });

  async function getIssuePaths(variables: Record<string, unknown>) {
    const [error] = await errorsOf(listConnections(organisation, variables));
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    const issues = (error?.extensions.issues ?? []) as { path: string[] }[];
    return issues.map(({ path }) => path.join('.')).sort();
  }

  it('rejects cursors of another order, of another direction and forged ones', async () => {
    const { pageInfo } = await listConnections(organisation, { first: 1 });
    const cursor = pageInfo.endCursor;
    for (const field of ['NAME', 'CREATED_AT', 'UPDATED_AT']) {
      for (const direction of ['ASC', 'DESC']) {
        if (field === 'NAME' && direction === 'ASC') continue;
        const orderBy = { field, direction };
        expect(await getIssuePaths({ orderBy, after: cursor })).toEqual(['after']);
        expect(await getIssuePaths({ orderBy, before: cursor })).toEqual(['before']);
      }
    }
    const id = randomUUID();
    const forged = [
      'nonsense',
      '',
      ...[
        ['a', id],
        ['name', 'asc', 'A%', id],
        ['name', 'asc', 'a', 'no-id'],
        ['name', 'asc', { $ne: 1 }, id],
        ['name', 'asc', 'a', id, 'more'],
        null,
      ].map((parts) => Buffer.from(JSON.stringify(parts)).toString('base64url')),
    ];
    for (const before of forged) expect(await getIssuePaths({ before })).toEqual(['before']);
    const orderBy = { field: 'CREATED_AT' };
    for (const moment of ['yesterday', '0000-01-01T00:00:00.000Z', 5, null]) {
      const after = Buffer.from(JSON.stringify(['createdAt', 'asc', moment, id])).toString('base64url');
      expect(await getIssuePaths({ orderBy, after })).toEqual(['after']);
    }
  });

  it('rejects forward and backward arguments together', async () => {
    const { pageInfo } = await listConnections(organisation, { first: 2 });
    const [after, before] = [pageInfo.startCursor, pageInfo.endCursor];
    expect(await getIssuePaths({ first: 1, last: 1 })).toEqual(['last']);
    expect(await getIssuePaths({ after, before })).toEqual(['before']);
    expect(await getIssuePaths({ first: 1, before })).toEqual(['before']);
    expect(await getIssuePaths({ last: 1, after })).toEqual(['last']);
    expect(await getIssuePaths({ first: 1, after, last: 1, before })).toEqual(['before', 'last']);
  });

  it.each<[Record<string, unknown>, string[]]>([
    [{ first: 0 }, ['first']],
    [{ first: 101 }, ['first']],
    [{ last: 0 }, ['last']],
    [{ last: 101 }, ['last']],
    [{ filter: { namePrefix: '' } }, ['filter.namePrefix']],
    [{ filter: { nameContains: ' ' } }, ['filter.nameContains']],
    [{ filter: { nameContains: 'x'.repeat(65) } }, ['filter.nameContains']],
    [{ filter: { namePrefix: 'nul\u0000' } }, ['filter.namePrefix']],
    [{ filter: { createdFrom: '0000-01-01T00:00:00Z' } }, ['filter.createdFrom']],
    [{ filter: { updatedTo: '9999-12-31T23:59:59-12:00' } }, ['filter.updatedTo']],
    [{ filter: { createdFrom: day(2), createdTo: day(2) } }, ['filter.createdTo']],
    [{ filter: { updatedFrom: day(2), updatedTo: day(1) } }, ['filter.updatedTo']],
    [
      {
        filter: {
          namePrefix: '',
          createdFrom: day(2),
          createdTo: day(1),
          updatedFrom: day(2),
          updatedTo: day(1),
        },
        first: 101,
        last: 0,
        before: 'nonsense',
      },
      [
        'before',
        'before',
        'filter.createdTo',
        'filter.namePrefix',
        'filter.updatedTo',
        'first',
        'last',
        'last',
      ],
    ],
  ])('rejects %o with one issue for each broken rule', async (variables, paths) => {
    expect(await getIssuePaths(variables)).toEqual(paths);
  });
});
