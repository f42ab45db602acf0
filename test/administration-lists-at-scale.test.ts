import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countRowsRead } from './testkit/query-plan.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const rows = 20_000;

let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  server = await startTestServer();
  organisation = await server.newOrganisation();
  const em = server.asOwner();
  const { orgId } = organisation;
  // All but one in 500 are revoked.
  await em.execute(
    `insert into api_key (id, org_id, name, hash, scopes, created_at, revoked_at, mac)
     select gen_random_uuid(), ?::uuid, 'Key', 'hash ' || i, '{}', now() - make_interval(mins => i),
       case when i % 500 <> 0 then now() end, '' from generate_series(1, ${rows}) i`,
    [orgId],
  );
  await em.execute(
    `insert into project (id, org_id, name, created_at, mac)
     select gen_random_uuid(), ?::uuid, 'Project ' || i, now(), '' from generate_series(1, ${rows}) i`,
    [orgId],
  );
  await em.execute('analyze api_key');
  await em.execute('analyze project');
}, 120_000);
afterAll(() => server.close());

/** Counts the rows that PostgreSQL reads for the server's last list statement on this table. */
async function rowsRead(table: string, values: readonly unknown[]): Promise<number> {
  const pattern = new RegExp(
    `select [^\\n]* from \\\\"${table}\\\\"[^\\n]* order by [^\\n]* limit \\$\\d+`,
    'g',
  );
  const statement = server.logs().match(pattern)?.at(-1) ?? '';
  const sql = statement.replaceAll('\\"', '"').replaceAll(/\$\d+/g, '?');
  return countRowsRead(server.asOwner(), sql, values);
}

describe('administration lists at scale', () => {
  it.each([
    ['API keys', 'api_key', '{ list: apiKeys(first: 20) { nodes { id } } }'],
    [
      'API keys with revoked ones',
      'api_key',
      '{ list: apiKeys(first: 20, includeRevoked: true) { nodes { id } } }',
    ],
    ['projects', 'project', '{ list: projects(first: 20) { nodes { id } } }'],
  ])(`reads fewer than 50 of ${rows} rows for the first page of %s`, async (_, table, query) => {
    const { list } = await organisation.client.request<{ list: { nodes: object[] } }>(query);
    expect(list.nodes).toHaveLength(20);
    // PostgreSQL's incremental sort reads a whole group of equal names.
    expect(await rowsRead(table, [organisation.orgId, 21])).toBeLessThan(50);
  });
});
