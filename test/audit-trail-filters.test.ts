import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { AuditEvent } from '../src/audit/audit-event.entity.ts';
import type { Sql } from '../src/database/sql.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const events = 30_000;
/** The most that one call looks at. */
const bound = 10_000;

let server: TestServer;
let organisation: TestOrganisation;
/** What came after the table in each reading of the trail. */
let readings: Sql[] = [];
const [key, connection, project] = [randomUUID(), randomUUID(), randomUUID()];
const nobody = randomUUID();

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
  // What is common elsewhere is what PostgreSQL expects to be common here too.
  await insert((await server.newOrganisation()).orgId);
  // One event that has everything that the others have not, a long time ago.
  await em.execute(
    `insert into audit_event (org_id, seq, at, action, key_id, subject, connection_id, project_id, outcome, fields,
       previous_hash, hash)
     select org_id, ${events + 1}, at, 'CREATE_PROJECT', ?::uuid, 'rare', ?::uuid, ?::uuid, 'NAME_TAKEN', '{}', '', ''
     from audit_event where org_id = ? and seq = ${events}`,
    [nobody, nobody, nobody, organisation.orgId],
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

/** One page, and how many events PostgreSQL looked at in the statement of it that looked at most. */
async function read(filter: object, after?: string | null, client = organisation.client) {
  readings = [];
  const { auditEvents } = await client.request<{ auditEvents: Page }>(query, { filter, first: 20, after });
  expect(readings.length).toBeGreaterThan(0);
  let lookedAt = 0;
  for (const { parts, values } of readings)
    lookedAt = Math.max(lookedAt, await rowsLookedAt(parts.join('?'), values));
  return { ...auditEvents, lookedAt };
}

interface Plan {
  'Relation Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  Plans?: Plan[];
}

async function rowsLookedAt(rest: string, values: readonly unknown[]): Promise<number> {
  const count = (plan: Plan): number =>
    (plan['Relation Name']
      ? (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)) * plan['Actual Loops']
      : 0) + (plan.Plans ?? []).reduce((sum, child) => sum + count(child), 0);
  const em = server.asOwner();
  await em.begin();
  // As they are for the server's own scans.
  await em.execute('set local enable_sort = off');
  await em.execute('set local enable_bitmapscan = off');
  const [row] = await em.execute<{ 'QUERY PLAN': string | { Plan: Plan }[] }[]>(
    `explain (analyze, format json) select * from audit_event ${rest}`,
    [...values],
  );
  await em.rollback();
  const plans = row?.['QUERY PLAN'] ?? [];
  const [{ Plan: plan }] = (typeof plans === 'string' ? JSON.parse(plans) : plans) as [{ Plan: Plan }];
  return count(plan);
}

describe(`in a trail of ${events} events`, () => {
  test.each([
    ['an action', { action: 'ROTATE_KEYS' }],
    ['an API key', { keyId: randomUUID() }],
    ['a subject', { subject: 'somebody' }],
    ['an outcome', { outcome: 'FORBIDDEN' }],
    ['a connection', { connectionId: randomUUID() }],
    ['a project', { projectId: randomUUID() }],
    ['a time to come', { from: '2199-01-01T00:00:00Z' }],
    ['a time before all', { to: '2001-01-01T00:00:00Z' }],
  ])(
    'a filter for %s that matches nothing looks at a handful, and says that there is no more',
    async (_, filter) => {
      const page = await read(filter);
      expect(page).toMatchObject({ nodes: [], pageInfo: { hasNextPage: false, endCursor: null } });
      // With a time, the events of a day around it, which is as far as clocks are trusted.
      expect(page.lookedAt).toBeLessThan('from' in filter ? 1_500 : 25);
    },
  );

  test.each([
    ['an action', { action: 'CREATE_PROJECT' }],
    ['an API key', { keyId: nobody }],
    ['a subject', { subject: 'rare' }],
    ['an outcome', { outcome: 'NAME_TAKEN' }],
    ['a connection', { connectionId: nobody }],
    ['a project', { projectId: nobody }],
  ])('a filter for %s finds the one that there is without looking at others', async (_, filter) => {
    const page = await read(filter);
    expect(page).toMatchObject({ nodes: [{ seq: events + 1 }], pageInfo: { hasNextPage: false } });
    expect(page.lookedAt).toBeLessThan(25);
  });

  test.each([
    ['a common subject and a common action', { subject: 'busy', action: 'UPDATE_CONNECTION' }],
    ['the same of one key', { keyId: key, subject: 'idle', action: 'VERIFY_CONNECTION' }],
    [
      'the same of one connection',
      { connectionId: connection, subject: 'busy', action: 'UPDATE_CONNECTION' },
    ],
    [
      'the same of one project',
      { projectId: project, subject: 'busy', action: 'UPDATE_CONNECTION', outcome: 'OK' },
    ],
    ['a common key and a rare project', { keyId: key, outcome: 'OK', projectId: nobody }],
  ])('%s: no call looks at more than the bound, and the cursor leads on to the end', async (_, filter) => {
    let pages = 0;
    for (let after: string | null | undefined; ; pages += 1) {
      const { nodes, pageInfo, lookedAt } = await read(filter, after);
      expect(nodes).toEqual([]);
      expect(lookedAt).toBeLessThanOrEqual(bound);
      if (!pageInfo.hasNextPage) break;
      expect(pageInfo.endCursor).not.toBe(after ?? null);
      after = pageInfo.endCursor;
    }
    expect(pages).toBeLessThanOrEqual(events / bound + 1);
  });

  test('what matches is found once and in order, over however many short pages', async () => {
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

  test('the whole trail can be read to its start', async () => {
    const { nodes, pageInfo } = await read({}, Buffer.from('event:11').toString('base64url'));
    expect(nodes.map(({ seq }) => seq)).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    expect(pageInfo.hasNextPage).toBe(false);
  });

  test('a caller that is limited to projects without events is bounded too', async () => {
    const [one, two] = [await organisation.newProject('One'), await organisation.newProject('Two')];
    for (const projectIds of [[one], [one, two]]) {
      const client = server.clientFor(await organisation.newKey(['audit:read'], { projectIds }));
      const { auditEvents } = await client.request<{ auditEvents: Page }>(query, { first: 20 });
      expect(auditEvents.nodes).toEqual([]);
      expect(auditEvents.pageInfo.hasNextPage).toBe(projectIds.length > 1);
    }
  });
});
