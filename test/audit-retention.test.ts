import { join } from 'node:path';
import { Writable, type WritableOptions } from 'node:stream';
import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { startCleanUp } from '../src/app/clean-up.ts';
import { deleteEventsBefore } from '../src/audit/delete-old-events.ts';
import { encodeEventCursor } from '../src/audit/event-cursor.ts';
import { appendEvents, serverActor } from '../src/audit/hash-chain.ts';
import { synchroniseClock } from '../src/common/clock.ts';
import { createLog, type Logger } from '../src/common/log.ts';
import { cleanUpBatchRows } from '../src/database/delete-in-batches.ts';
import { checkChain, listContradictions } from './testkit/access.ts';
import { lastingData } from './testkit/database.ts';
import { createDatabaseAttacker } from './testkit/database-attacker.ts';
import { runProgram } from './testkit/in-process.ts';
import { createConnection, updateMutation } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';
import { createEndpoint } from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const dayMs = 86_400_000;
const listQuery = gql`
  query {
    auditEvents(first: 100) {
      nodes {
        seq
      }
    }
  }
`;

let server: TestServer;
let sql: ReturnType<typeof createDatabaseAttacker>;
const stack = new AsyncDisposableStack();
beforeAll(async () => {
  server = await startTestServer();
  stack.defer(() => server.close());
  sql = createDatabaseAttacker(server);
});
afterEach(() => {
  synchroniseClock(Date.now(), Date.now());
});
afterAll(() => stack.disposeAsync());

/** Runs a task at an earlier time of the database. */
async function daysAgo<Result>(days: number, task: () => Promise<Result>): Promise<Result> {
  synchroniseClock(Date.now() - days * dayMs, Date.now());
  const result = await task();
  synchroniseClock(Date.now(), Date.now());
  return result;
}

/** Creates an organisation with events that are ten days old, and as many new ones. */
async function createTrail(old: number, recent: number, on = server): Promise<TestOrganisation> {
  const organisation = await on.newOrganisation();
  const create = async (prefix: string, count: number) => {
    for (let index = 0; index < count; index += 1)
      await createConnection(organisation, { name: `${prefix}-${index}` });
  };
  await daysAgo(10, () => create('old', old));
  await create('new', recent);
  return organisation;
}

const deleteOlderThan = (
  days: number,
  {
    on = server,
    log = createLog('silent'),
    signal,
  }: { on?: TestServer; log?: Logger; signal?: AbortSignal } = {},
) =>
  deleteEventsBefore(
    { database: on.database, vault: on.vault, log },
    new Date(Date.now() - days * dayMs),
    signal,
  );

async function listSeqs({ client }: TestOrganisation): Promise<number[]> {
  const { auditEvents } = await client.request<{ auditEvents: { nodes: { seq: number }[] } }>(listQuery);
  return auditEvents.nodes.map(({ seq }) => seq).sort((one, other) => one - other);
}

describe('the retention of audit events', () => {
  it('deletes the old events of each trail, which stays verifiable', async () => {
    const trails = [await createTrail(3, 2), await createTrail(2, 0), await createTrail(0, 2)];
    await deleteOlderThan(11);
    expect(await Promise.all(trails.map(listSeqs))).toEqual([
      [1, 2, 3, 4, 5],
      [1, 2],
      [1, 2],
    ]);
    await deleteOlderThan(9);
    // The last event of a trail is kept, however old it is.
    expect(await Promise.all(trails.map(listSeqs))).toEqual([[4, 5], [2], [1, 2]]);
    const [first, second, third] = await Promise.all(trails.map(({ orgId }) => checkChain(server, orgId)));
    expect(first).toMatchObject({ events: 2, deleted: { seq: 3 } });
    expect(second).toMatchObject({ events: 1, deleted: { seq: 1 } });
    expect(third).toEqual({ events: 2 });
    const [trail] = trails;
    if (trail) await createConnection(trail, { name: 'later' });
    expect(await checkChain(server, trail?.orgId ?? '')).toMatchObject({ events: 3, deleted: { seq: 3 } });
  });

  it('deletes a long trail in several transactions, unless it is aborted', async () => {
    const { orgId } = await server.newOrganisation();
    const event = { ...serverActor, orgId, action: 'SIGN_IN', outcome: 'FORBIDDEN' } as const;
    const count = 2 * cleanUpBatchRows + 50;
    await daysAgo(10, () =>
      server.database
        .forOrganisation(orgId)
        .transactional((em) => appendEvents(em, server, orgId, Array(count).fill(event))),
    );
    await deleteOlderThan(9, { signal: AbortSignal.abort() });
    expect(await checkChain(server, orgId)).toEqual({ events: count });
    const before = server.logs().length;
    await deleteOlderThan(9);
    expect(await checkChain(server, orgId)).toMatchObject({ events: 1, deleted: { seq: count - 1 } });
    const deleted = server
      .logs()
      .slice(before)
      .matchAll(/delete from audit_event[^"]*?(\d+) rows? affected/g);
    expect([...deleted].map(([, rows]) => Number(rows))).toEqual([cleanUpBatchRows, cleanUpBatchRows, 49]);
  });

  it('leaves events that something else deletes, adds or hides detectable', async () => {
    const trail = await createTrail(2, 3);
    const { orgId } = trail;
    const [oldest] = await sql('select to_jsonb(e) as row from audit_event e where org_id = ? and seq = 1', [
      orgId,
    ]);
    await deleteOlderThan(9);
    const [retention] = await sql('select to_jsonb(r) as row from audit_retention r where org_id = ?', [
      orgId,
    ]);
    const putBack = async (table: string, row: unknown) => {
      await sql(`insert into "${table}" select * from jsonb_populate_record(null::"${table}", ?::jsonb)`, [
        JSON.stringify(row),
      ]);
    };
    await putBack('audit_event', oldest?.row);
    expect(await checkChain(server, orgId)).toEqual({ seq: 1, problem: 'added' });
    // The events that the retention has deleted can be deleted again, and no others.
    await sql('delete from audit_event where org_id = ? and seq = 1', [orgId]);
    await expect(sql('delete from audit_event where org_id = ? and seq = 3', [orgId])).rejects.toThrow(
      'audit events are only ever added',
    );
    await sql('update audit_retention set seq = 3 where org_id = ?', [orgId]);
    await sql('delete from audit_event where org_id = ? and seq = 3', [orgId]);
    expect(await checkChain(server, orgId)).toEqual({ seq: 1, problem: 'removed' });
    await sql('delete from audit_retention where org_id = ?', [orgId]);
    expect(await checkChain(server, orgId)).toEqual({ seq: 1, problem: 'removed' });
    await putBack('audit_retention', retention?.row);
    expect(await checkChain(server, orgId)).toEqual({ seq: 3, problem: 'removed' });
  });

  it('keeps the events of a trail that was changed by something else, and logs it', async () => {
    const trail = await createTrail(3, 1);
    await sql('alter table audit_event disable trigger all');
    await sql("update audit_event set connection_name = 'other' where org_id = ? and seq = 2", [trail.orgId]);
    await sql('alter table audit_event enable trigger all');
    const lines: string[] = [];
    const log = createLog(
      'error',
      new Writable({ write: (line, _, done) => done(void lines.push(String(line))) }),
    );
    await deleteOlderThan(9, { log });
    const line = lines.find((text) => text.includes(trail.orgId));
    expect(JSON.parse(line ?? '{}')).toMatchObject({
      seq: 2,
      msg: 'old audit events are kept, because their trail is broken',
    });
    expect(await listSeqs(trail)).toEqual([2, 3, 4]);
    expect(await checkChain(server, trail.orgId)).toEqual({ seq: 2, problem: 'edited' });
  });

  it.each([
    ['keeps everything, and logs it, while the clock of the database is far ahead', 100 * dayMs, [1, 2]],
    ['deletes old events as long as the clock of the database is a little ahead (self-check)', 60_000, [2]],
  ])('%s', async (_, aheadMs, left) => {
    const trail = await createTrail(2, 0);
    const lines: string[] = [];
    const write: WritableOptions['write'] = (line, _encoding, done) => done(void lines.push(String(line)));
    const { database, vault } = server;
    const log = createLog('error', new Writable({ write }));
    synchroniseClock(Date.now() + aheadMs, Date.now());
    const cleanUp = startCleanUp({ database, vault, log, auditRetentionDays: 9, deletedRetentionDays: 30 });
    // Trails of other tests are broken, which is logged too.
    const listLogged = () => lines.filter((line) => line.includes('clock of the database is ahead'));
    await until(
      'the clean-up has ended',
      async () => listLogged().length > 0 || (await listSeqs(trail)).length < 2 || undefined,
    );
    synchroniseClock(Date.now(), Date.now());
    await cleanUp.stop();
    expect(await listSeqs(trail)).toEqual(left);
    expect(listLogged().map((line) => JSON.parse(line).aheadSeconds)).toEqual(
      aheadMs > dayMs ? [8_640_000] : [],
    );
  });

  it('keeps events that a webhook endpoint has not read yet', async () => {
    const trail = await server.newOrganisation();
    await daysAgo(10, async () => {
      await createEndpoint(trail.client, { url: 'https://example.com/webhooks' });
      for (const name of ['a', 'b']) await createConnection(trail, { name });
    });
    await sql('update webhook_endpoint set position = 1 where org_id = ?', [trail.orgId]);
    await createConnection(trail, { name: 'c' });
    await deleteOlderThan(9);
    expect(await listSeqs(trail)).toEqual([2, 3, 4]);
  });

  it('refuses to continue a subscription after changes that it has deleted, and continues later ones', async () => {
    const trail = await createTrail(3, 2);
    const query = `subscription ($after: String) {
      appConnectionChanged(after: $after) { eventId appConnection { name } }
    }`;
    const [{ seq } = { seq: 0 }] = await sql('select max(seq) as seq from audit_event where org_id = ?', [
      trail.orgId,
    ]);
    expect(seq).toBe(5);
    const resume = async (after: string) => {
      await using subscription = await subscribe(server.graphqlUrl, trail.apiKey, query, { after });
      return await subscription.next();
    };
    const [first, third] = [encodeEventCursor('change', 1), encodeEventCursor('change', 3)];
    expect(await resume(first)).toMatchObject({
      data: { appConnectionChanged: { appConnection: { name: 'old-1' } } },
    });
    await deleteOlderThan(9);
    const { errors } = await resume(first);
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', issues: [{ path: ['after'] }] } }]);
    expect(await resume(third)).toMatchObject({
      data: { appConnectionChanged: { appConnection: { name: 'new-0' } } },
    });
  });

  it('leaves rows that are older than the rest of their trail says detectable', async () => {
    const trail = await server.newOrganisation();
    const { id } = await daysAgo(10, () => createConnection(trail, { name: 'a' }));
    const update = (name: string) => trail.client.request(updateMutation, { id, input: { name } });
    await update('b');
    const putBack = await sql.putBackLater('app_connection', id);
    await update('c');
    await update('d');
    await deleteOlderThan(9);
    expect(await listContradictions(server, trail.orgId)).toEqual([]);
    await putBack();
    expect(await listContradictions(server, trail.orgId)).toEqual([
      `app_connection {"id":"${id}"}: at version 2, but the audit trail has version 4`,
    ]);
  });
});

it('AUDIT_RETENTION_DAYS deletes old events at start, and audit:verify and audit:export accept what is left', async () => {
  const { path, location, environment } = await lastingData(stack);
  const file = join(path, 'checkpoints.jsonl');
  const rootKeys = rootKey('k1');
  const start = (auditRetentionDays?: number) =>
    startTestServer({ location, rootKeys, config: { auditCheckpointFile: file, auditRetentionDays } });
  const settings = { ...environment, ENCRYPTION_KEYS: rootKeys };
  const first = await start();
  const trail = await createTrail(3, 0, first);
  await first.close();
  const second = await start(8);
  const again = { ...trail, client: second.clientFor(trail.apiKey) };
  await until('old events are deleted', async () => (await listSeqs(again)).join() === '3' || undefined);
  await createConnection(again, { name: 'new' });
  // Deletes the event of the last checkpoint.
  await deleteOlderThan(8, { on: second });
  expect(await listSeqs(again)).toEqual([4]);
  await createConnection(again, { name: 'newer' });
  await second.close();
  expect(
    second
      .logs()
      .split('\n')
      .filter((line) => line.includes('"level":"error"')),
  ).toEqual([]);
  const verified = await runProgram('audit:verify', settings, '--checkpoint', file);
  expect(verified).toMatchObject({ code: 0 });
  expect(verified.stdout).toMatch(
    new RegExp(
      `organisation ${trail.orgId}: 2 events, intact; events 1 to 3, until \\S+Z, were older than AUDIT_RETENTION_DAYS and deleted\n`,
    ),
  );
  const exported = await runProgram('audit:export', settings, '--organisation', trail.orgId);
  expect(exported.code).toBe(0);
  expect(
    exported.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).seq),
  ).toEqual([4, 5]);
});
