import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { AuditEvent } from '../src/audit/audit-event.entity.ts';
import type { Sql } from '../src/database/sql.ts';
import { countRowsRead } from './testkit/query-plan.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { compileSql } from './testkit/sql.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const events = 30_000;
/** The maximum number of rows that one call reads. */
const bound = 10_000;

let server: TestServer;
let organisation: TestOrganisation;
/** The SQL after the table's name in each select from the trail. */
let readings: Sql[] = [];
const [key, connection, project] = [randomUUID(), randomUUID(), randomUUID()];
const rareId = randomUUID();

beforeAll(async () => {
  server = await startTestServer({
    wrap: (database) => ({
      ...database,
      select: (entity, orgId, rest, how) => {
        if (Object.is(entity, AuditEvent)) readings.push(rest);
        return database.select(entity, orgId, rest, how);
      },
    }),
  });
  organisation = await server.newOrganisation();
  const em = server.asOwner();
  const insert = (orgId: string) =>
    em.execute(
      `insert into audit_event (org_id, seq, at, action, key_id, subject, connection_id, project_id, outcome, fields,
         previous_hash, hash)
       select ?::uuid, seq, now() - make_interval(mins => ${events} - seq), (array['VERIFY_CONNECTION', 'UPDATE_CONNECTION'])[1 + seq % 2], ?::uuid,
         (array['busy', 'idle'])[1 + seq % 2], ?::uuid,
         ?::uuid, 'OK', '{}', '', '' from generate_series(1, ${events}) seq`,
      [orgId, key, connection, project],
    );
  await insert(organisation.orgId);
  // PostgreSQL's statistics cover all organisations: a second one makes these values common.
  await insert((await server.newOrganisation()).orgId);
  // One event whose values are all rare.
  await em.execute(
    `insert into audit_event (org_id, seq, at, action, key_id, subject, connection_id, project_id, outcome, fields,
       previous_hash, hash)
     select org_id, ${events + 1}, at, 'CREATE_PROJECT', ?::uuid, 'rare', ?::uuid, ?::uuid, 'NAME_TAKEN', '{}', '', ''
     from audit_event where org_id = ? and seq = ${events}`,
    [rareId, rareId, rareId, organisation.orgId],
  );
  await em.execute('analyze audit_event');
});
afterAll(() => server.close());

const query = gql`query ($filter: AuditEventFilter, $first: Int!, $after: String) {
  auditEvents(filter: $filter, first: $first, after: $after) { nodes { seq } pageInfo { hasNextPage endCursor } }
}`;

interface Page {
  nodes: { seq: number }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** Reads one page, and counts the rows that its most expensive statement reads. */
async function read(filter: object, after?: string | null, client = organisation.client) {
  readings = [];
  const { auditEvents } = await client.request<{ auditEvents: Page }>(query, { filter, first: 20, after });
  expect(readings.length).toBeGreaterThan(0);
  let rowCount = 0;
  for (const { text, values } of readings.map(compileSql))
    rowCount = Math.max(rowCount, await rowsRead(text.replaceAll(/\$\d+/g, '?'), values));
  return { ...auditEvents, rowCount };
}

async function rowsRead(rest: string, values: readonly unknown[]): Promise<number> {
  const em = server.asOwner();
  await em.begin();
  // The server reads the trail with these settings.
  await em.execute('set local enable_sort = off');
  await em.execute('set local enable_bitmapscan = off');
  const count = await countRowsRead(em, `select * from audit_event ${rest}`, values);
  await em.rollback();
  return count;
}

describe(`the audit trail with ${events} events`, () => {
  it.each([
    ['an action', { action: 'ROTATE_KEYS' }],
    ['an API key', { keyId: randomUUID() }],
    ['a subject', { subject: 'somebody' }],
    ['an outcome', { outcome: 'FORBIDDEN' }],
    ['a connection', { connectionId: randomUUID() }],
    ['a project', { projectId: randomUUID() }],
    ['a time in the future', { from: '2199-01-01T00:00:00Z' }],
    ['a time before the first event', { to: '2001-01-01T00:00:00Z' }],
  ])('a filter for %s without a match reads few rows and reports no further page', async (_, filter) => {
    const page = await read(filter);
    expect(page).toMatchObject({ nodes: [], pageInfo: { hasNextPage: false, endCursor: null } });
    // A time filter reads the events of a day around it, the tolerated difference of clocks.
    expect(page.rowCount).toBeLessThan('from' in filter ? 1_500 : 25);
  });

  it.each([
    ['an action', { action: 'CREATE_PROJECT' }],
    ['an API key', { keyId: rareId }],
    ['a subject', { subject: 'rare' }],
    ['an outcome', { outcome: 'NAME_TAKEN' }],
    ['a connection', { connectionId: rareId }],
    ['a project', { projectId: rareId }],
  ])('a filter for %s finds the only match without reading other rows', async (_, filter) => {
    const page = await read(filter);
    expect(page).toMatchObject({ nodes: [{ seq: events + 1 }], pageInfo: { hasNextPage: false } });
    expect(page.rowCount).toBeLessThan(25);
  });

  it.each([
    ['a common subject and a common action', { subject: 'busy', action: 'UPDATE_CONNECTION' }],
    ['a common key, subject and action', { keyId: key, subject: 'idle', action: 'VERIFY_CONNECTION' }],
    [
      'a common connection, subject and action',
      { connectionId: connection, subject: 'busy', action: 'UPDATE_CONNECTION' },
    ],
    [
      'a common project, subject, action and outcome',
      { projectId: project, subject: 'busy', action: 'UPDATE_CONNECTION', outcome: 'OK' },
    ],
    ['a common key and a rare project', { keyId: key, outcome: 'OK', projectId: rareId }],
  ])(`reads at most ${bound} rows per call and pages to the end with a filter for %s`, async (_, filter) => {
    let pages = 0;
    for (let after: string | null | undefined; ; pages += 1) {
      const { nodes, pageInfo, rowCount } = await read(filter, after);
      expect(nodes).toEqual([]);
      expect(rowCount).toBeLessThanOrEqual(bound);
      if (!pageInfo.hasNextPage) break;
      expect(pageInfo.endCursor).not.toBe(after ?? null);
      after = pageInfo.endCursor;
    }
    expect(pages).toBeLessThanOrEqual(events / bound + 1);
  });

  it('returns each match once and in order across short pages', async () => {
    const filter = {
      keyId: key,
      outcome: 'OK',
      to: new Date(Date.now() - (events - 50) * 60_000).toISOString(),
    };
    const seen: number[] = [];
    for (let after: string | null | undefined; ; ) {
      const { nodes, pageInfo } = await read(filter, after);
      seen.push(...nodes.map(({ seq }) => seq));
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    expect(seen.length).toBeGreaterThan(45);
    expect(seen).toEqual(Array.from(seen, (_, index) => seen.length - index));
  });

  it('pages through the whole trail', async () => {
    const { nodes, pageInfo } = await read({}, Buffer.from('event:11').toString('base64url'));
    expect(nodes.map(({ seq }) => seq)).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    expect(pageInfo.hasNextPage).toBe(false);
  });

  it('bounds the reads of a caller limited to projects without events', async () => {
    const [one, two] = [await organisation.newProject('One'), await organisation.newProject('Two')];
    for (const projectIds of [[one], [one, two]]) {
      const client = server.clientFor(await organisation.newKey(['audit:read'], { projectIds }));
      const { auditEvents } = await client.request<{ auditEvents: Page }>(query, { first: 20 });
      expect(auditEvents.nodes).toEqual([]);
      expect(auditEvents.pageInfo.hasNextPage).toBe(projectIds.length > 1);
    }
  });
});
