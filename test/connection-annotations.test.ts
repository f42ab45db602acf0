import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listConnections, toNames } from './testkit/list-connections.ts';
import { okta } from './testkit/operations.ts';
import { at, createCheckedClient, oktaBody, type RestClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let organisation: TestOrganisation;
let own: TestOrganisation;
let rest: RestClient;
let restOfOwn: RestClient;
beforeAll(async () => {
  server = await startTestServer();
  [organisation, own] = [await server.newOrganisation(), await server.newOrganisation()];
  rest = await createCheckedClient(server.url, organisation.apiKey);
  restOfOwn = await createCheckedClient(server.url, own.apiKey);
});
afterAll(() => server.close());

const fields = 'id version tags { key value } owner { name email } notes';

interface Annotated {
  id: string;
  version: number;
  tags: { key: string; value: string }[];
  owner: { name: string; email: string } | null;
  notes: string | null;
}

async function create(name: string, input: object, { client } = organisation): Promise<Annotated> {
  const { answer } = await client.request<{ answer: { appConnection: Annotated } }>(
    gql`mutation ($input: CreateOktaConnectionInput!) {
      answer: createOktaConnection(input: $input) { appConnection { ${fields} } }
    }`,
    okta({ name, ...input }),
  );
  return answer.appConnection;
}

async function update(id: string, input: object): Promise<Annotated> {
  const { answer } = await organisation.client.request<{ answer: { appConnection: Annotated } }>(
    gql`mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
      answer: updateOktaConnection(id: $id, input: $input) { appConnection { ${fields} } }
    }`,
    { id, input },
  );
  return answer.appConnection;
}

/** The changed fields of the events of a connection, the first event first. */
async function listChangedFields(connectionId: string): Promise<string[][]> {
  const { auditEvents } = await organisation.client.request<{
    auditEvents: { nodes: { changedFields: string[] }[] };
  }>(
    'query ($connectionId: UUID!) { auditEvents(filter: { connectionId: $connectionId }) { nodes { changedFields } } }',
    { connectionId },
  );
  return auditEvents.nodes.map(({ changedFields }) => changedFields).reverse();
}

const tag = (key: string, value = '') => ({ key, value });
const owner = { name: 'Identity team', email: 'identity@example.com' };
const notes = '# Rotation\n\n- ask *first*\n';

describe('tags, owner and notes of a connection', () => {
  it('are stored by a create, in the order of their keys, and trimmed', async () => {
    const tags = [
      tag(' team ', ' identity & access '.replace('&', '+')),
      tag('env', 'prod'),
      tag('Ünï.cödé/1'),
    ];
    const created = await create('annotated', {
      tags,
      owner: { name: ' Identity team ', email: ' identity@example.com ' },
      notes: notes.replaceAll('\n', '\r\n'),
    });
    expect(created).toMatchObject({
      tags: [tag('env', 'prod'), tag('team', 'identity + access'), tag('Ünï.cödé/1')],
      owner,
      notes: notes.trimEnd(),
    });
    const [event] = await listChangedFields(created.id);
    expect(event).toEqual(expect.arrayContaining(['tags', 'owner', 'notes']));
  });

  it('are replaced and cleared by an update, whose event has their names, and kept if they are absent', async () => {
    const { id } = await create('updated', { tags: [tag('a', '1'), tag('b', '2')], owner, notes });
    expect(await update(id, { description: 'Other' })).toMatchObject({
      ...{ version: 2, tags: [tag('a', '1'), tag('b', '2')], owner, notes: notes.trimEnd() },
    });
    // The same in another order is no change.
    expect(await update(id, { tags: [tag('b', '2'), tag('a', '1')], owner, notes })).toMatchObject({
      version: 2,
    });
    expect(await update(id, { tags: [tag('b', '3')], notes: null })).toMatchObject({
      ...{ version: 3, tags: [tag('b', '3')], owner, notes: null },
    });
    expect(await update(id, { tags: [], owner: null, notes: ' \n' })).toMatchObject({
      ...{ version: 4, tags: [], owner: null, notes: null },
    });
    const [, ...changed] = await listChangedFields(id);
    expect(changed).toEqual([['description'], ['tags', 'notes'], ['tags', 'owner']]);
  });

  it('are the same over REST, and absent without a value', async () => {
    const root = '/api/v1/app-connections/okta';
    const tags = [tag('via', 'rest')];
    const created = await rest('POST', root, oktaBody({ name: 'over-rest', tags, owner, notes: 'Notes' }));
    const shown = at(created.body, 'appConnection');
    expect(shown).toMatchObject({ tags, owner, notes: 'Notes' });
    const path = `${root}/${at(shown, 'id')}`;
    expect(await update(String(at(shown, 'id')), {})).toMatchObject({ tags, owner, notes: 'Notes' });
    await rest('PATCH', path, { tags: null, owner: null, notes: null });
    const cleared = Object(at((await rest('GET', path)).body, 'appConnection'));
    for (const name of ['tags', 'owner', 'notes']) expect(cleared).not.toHaveProperty(name);
  });

  const many = (count: number) => Array.from({ length: count }, (_, index) => tag(`key-${index}`));
  it.each<[string, object, string[]]>([
    ['51 tags', { tags: many(51) }, ['tags']],
    ['a key twice', { tags: [tag('a', '1'), tag(' a', '2')] }, ['tags.1.key']],
    ['an empty key', { tags: [tag(' ')] }, ['tags.0.key']],
    ['a key of 129 characters', { tags: [tag('k'.repeat(129))] }, ['tags.0.key']],
    ['a key with an equals sign', { tags: [tag('a=b')] }, ['tags.0.key']],
    ['a value of 257 characters', { tags: [tag('a', 'v'.repeat(257))] }, ['tags.0.value']],
    ['a value with a comma', { tags: [tag('a', '1,2')] }, ['tags.0.value']],
    ['a value with a line break', { tags: [tag('a', '1\n2')] }, ['tags.0.value']],
    ['an owner without a name', { owner: { ...owner, name: ' ' } }, ['owner.name']],
    ['an owner with two lines', { owner: { ...owner, name: 'a\nBcc: b' } }, ['owner.name']],
    ['no e-mail address', { owner: { ...owner, email: 'identity' } }, ['owner.email']],
    [
      'an e-mail address with a line break',
      { owner: { ...owner, email: 'a@b.example\nx' } },
      ['owner.email'],
    ],
    [
      'an e-mail address of 255 characters',
      { owner: { ...owner, email: `${'a'.repeat(243)}@example.com` } },
      ['owner.email'],
    ],
    ['notes of 10,001 bytes', { notes: `${'ü'.repeat(5_000)}x` }, ['notes']],
    ['notes with a bidirectional control', { notes: 'a\u202eb' }, ['notes']],
    [
      'the token in each',
      { notes: 'a-good-token', tags: [tag('a', 'A-good-token')], owner: { ...owner, name: 'a-good-token' } },
      ['notes', 'owner', 'tags'],
    ],
  ])('are rejected with %s', async (_, input, paths) => {
    const [error] = await errorsOf(create('refused', input));
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    const found = error?.extensions.issues?.map(({ path }) => path.slice(1).join('.')) ?? [];
    expect(found.sort()).toEqual(paths);
  });

  it('can be as long as the limits say', async () => {
    const tags = [tag('ü'.repeat(128), 'ü'.repeat(256)), ...many(49)];
    const long = { tags, owner: { ...owner, name: 'ü'.repeat(128) }, notes: 'ü'.repeat(5_000) };
    const created = await create('long', long);
    expect(created.tags).toHaveLength(50);
    expect(created).toMatchObject({ owner: long.owner, notes: long.notes });
  });
});

it('treats the composed and the decomposed form of a tag as the same tag', async () => {
  const [composed, decomposed] = ['caf\u00e9', 'cafe\u0301'];
  const created = await create('normalised', { tags: [tag(decomposed, decomposed)] });
  expect(created.tags).toEqual([tag(composed, composed)]);
  for (const form of [composed, decomposed]) {
    const page = await listConnections(organisation, { filter: { tags: [tag(form, form)] } });
    expect(toNames(page)).toEqual(['normalised']);
    const query = encodeURIComponent(`${form}=${form}`);
    const { body } = await rest('GET', `/api/v1/app-connections?tags=${query}`);
    expect(at(body, 'appConnections', 0, 'name')).toBe('normalised');
  }
  const [error] = await errorsOf(update(created.id, { tags: [tag(composed), tag(decomposed)] }));
  expect(error?.extensions.issues).toMatchObject([{ path: ['input', 'tags', 1, 'key'] }]);
});

describe('the filter by tags', () => {
  beforeAll(async () => {
    await create('first', { tags: [tag('env', 'prod'), tag('team', 'identity')] }, own);
    await create('second', { tags: [tag('env', 'test'), tag('team', 'identity')] }, own);
    await create('third', {}, own);
    // The same tags in another organisation.
    await create('first', { tags: [tag('env', 'prod')] }, await server.newOrganisation());
  });
  const find = async (tags: object[]) => toNames(await listConnections(own, { filter: { tags } }));

  it.each<[{ key: string; value?: string | null }[], string, string[]]>([
    [[], '', ['first', 'second', 'third']],
    [[tag('env', 'prod')], 'env=prod', ['first']],
    [[{ key: 'env' }], 'env', ['first', 'second']],
    [[{ key: 'env', value: null }], 'env', ['first', 'second']],
    [[{ key: 'team' }, tag('env', 'test')], 'team,env=test', ['second']],
    [[tag('env', 'Prod')], 'env=Prod', []],
    [[tag('env', '')], 'env=', []],
    [[{ key: 'en' }], 'en', []],
  ])('of %j finds the connections that have all of them', async (tags, query, names) => {
    const page = await listConnections(own, { filter: { tags } });
    expect([toNames(page), page.totalCount]).toEqual([names, names.length]);
    if (!query) return;
    const path = `/api/v1/app-connections?limit=1&tags=${encodeURIComponent(query)}`;
    const { body, headers } = await restOfOwn('GET', path);
    expect(Object(at(body, 'appConnections')).map(({ name }: { name: string }) => name)).toEqual(
      names.slice(0, 1),
    );
    const [, next] = /<(.+)>; rel="next"/.exec(headers.get('link') ?? '') ?? [];
    expect(next !== undefined).toBe(names.length > 1);
    if (next) expect(at((await restOfOwn('GET', next)).body, 'appConnections', 0, 'name')).toBe(names[1]);
  });

  it('follows every change of tags, and deletions', async () => {
    const { id } = await create('moving', { tags: [tag('stage', 'one')] });
    const has = async (value: string) =>
      toNames(await listConnections(organisation, { filter: { tags: [tag('stage', value)] } }));
    await update(id, { tags: [tag('stage', 'two')] });
    expect([await has('one'), await has('two')]).toEqual([[], ['moving']]);
    const remove = (purge: boolean) =>
      organisation.client.request(
        'mutation ($id: UUID!, $purge: Boolean!) { deleteAppConnection(id: $id, purge: $purge) { id } }',
        { id, purge },
      );
    await remove(false);
    expect(await has('two')).toEqual([]);
    await organisation.client.request(
      'mutation ($id: UUID!) { restoreAppConnection(id: $id) { appConnection { id } } }',
      { id },
    );
    expect(await has('two')).toEqual(['moving']);
    await remove(true);
    const rows = await server.asOwner().execute('select 1 from connection_tag where connection_id = ?', [id]);
    expect(rows).toEqual([]);
  });

  it('has at most 10 tags, with the rules of tags', async () => {
    const many = Array.from({ length: 11 }, (_, index) => ({ key: `key-${index}` }));
    for (const [tags, path] of [
      [many, ['filter', 'tags']],
      [[{ key: 'a,b' }], ['filter', 'tags', 0, 'key']],
    ] as const) {
      const [error] = await errorsOf(find([...tags]));
      expect(error?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', issues: [{ path }] });
    }
  });
});
