import { Writable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { deleteDueOrganisations } from '../src/administration/delete-organisations.ts';
import { AuditHead } from '../src/audit/audit-event.entity.ts';
import { deleteEventsBefore } from '../src/audit/delete-old-events.ts';
import { currentTimeMs, synchroniseClock } from '../src/common/clock.ts';
import { createLog } from '../src/common/log.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { createDatabaseAttacker } from './testkit/database-attacker.ts';
import { createConnection } from './testkit/operations.ts';
import { organisationCommand } from './testkit/organisation-command.ts';
import { until } from './testkit/process.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';
import { type SyslogReceiver, startSyslogReceiver } from './testkit/syslog-receiver.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const dayMs = 86_400_000;

/** It has the database, and streams nothing itself. */
let base: TestServer;
let sql: ReturnType<typeof createDatabaseAttacker>;
let receiver: SyslogReceiver;
let stack: AsyncDisposableStack;
beforeAll(async () => {
  base = await startTestServer();
  sql = createDatabaseAttacker(base);
});
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  await sql('delete from audit_stream');
  receiver = stack.use(await startSyslogReceiver());
});
afterEach(async () => {
  synchroniseClock(Date.now(), Date.now());
  await stack.disposeAsync();
});
afterAll(() => base.close());

/** Starts a server on the same database that streams. */
async function startStream(): Promise<TestServer> {
  const server = await startTestServer({
    beside: base,
    database: base.database,
    streamIntervalMs: 20,
    config: { auditStream: receiver.target },
  });
  stack.defer(() => server.close());
  return server;
}

/** Creates an organisation with events. */
async function createTrail(...names: string[]): Promise<TestOrganisation> {
  const organisation = await base.newOrganisation();
  for (const name of names) await createConnection(organisation, { name });
  return organisation;
}

/** Changes audit events past the triggers. */
async function tamper(statement: string, ...params: unknown[]): Promise<void> {
  await sql('alter table audit_event disable trigger all');
  await sql(statement, params);
  await sql('alter table audit_event enable trigger all');
}

const seqsOf = (orgId: string) =>
  receiver.events().flatMap((event) => (event.orgId === orgId ? [event.seq] : []));
const positionOf = async (orgId: string) =>
  (await sql('select seq from audit_stream_position where org_id = ?', [orgId]))[0]?.seq;
const waitForPosition = (orgId: string, seq: number) =>
  until(`the position is ${seq}`, async () => (await positionOf(orgId)) === seq || undefined);
const linesOf = (server: TestServer, orgId: string, text: string) =>
  server
    .logs()
    .split('\n')
    .filter((line) => line.includes(orgId) && line.includes(text));

/** As if another server had the stream for a time. */
const leaseToAnother = (ms: number) =>
  sql('insert into audit_stream (id, lease_id, lease_until) values (1, gen_random_uuid(), ?)', [
    new Date(currentTimeMs() + ms),
  ]);

/** Returns a function that waits until a server has looked twice, from now on, whether it may stream. */
function watchAttempts(): () => Promise<unknown> {
  const before = base.logs().length;
  const attempts = () => base.logs().slice(before).split("then 'taken'").length - 1;
  return () => until('the server has tried twice', () => attempts() > 1 || undefined);
}

describe('the stream of a broken audit trail', () => {
  it.each([
    ['edited', "update audit_event set connection_name = 'x' where org_id = ? and seq = 2"],
    ['removed', 'delete from audit_event where org_id = ? and seq = 2'],
    ['cut off', 'delete from audit_event where org_id = ? and seq >= 2'],
  ])(
    'stops before the first event that was %s and logs it once, while others go on, and resumes after the repair',
    async (_, statement) => {
      const broken = await createTrail('a', 'b', 'c');
      const rows = await sql('select to_jsonb(e) as row from audit_event e where org_id = ?', [broken.orgId]);
      await tamper(statement, broken.orgId);
      const other = await createTrail('d');
      const server = await startStream();
      await receiver.waitFor(other.orgId, 1);
      const [line] = await until('the defect is logged', () => {
        const lines = linesOf(server, broken.orgId, 'is broken');
        return lines.length > 0 ? lines : undefined;
      });
      expect(JSON.parse(line ?? '{}')).toMatchObject({ level: 'error', seq: 2 });
      await createConnection(other, { name: 'e' });
      await receiver.waitFor(other.orgId, 2);
      expect(seqsOf(broken.orgId)).toEqual([1]);
      expect(linesOf(server, broken.orgId, 'is broken')).toHaveLength(1);
      await server.close();
      await tamper(`delete from audit_event where org_id = ?`, broken.orgId);
      await sql(
        'insert into audit_event select * from jsonb_populate_recordset(null::audit_event, ?::jsonb)',
        [JSON.stringify(rows.map(({ row }) => row))],
      );
      await startStream();
      expect(await receiver.waitFor(broken.orgId, 3)).toEqual([1, 2, 3]);
    },
  );

  it('stops if the end of a trail was set back', async () => {
    const trail = await createTrail('a');
    const [head] = await sql('select to_jsonb(h) as row from audit_head h where org_id = ?', [trail.orgId]);
    await createConnection(trail, { name: 'b' });
    const server = await startStream();
    await waitForPosition(trail.orgId, 2);
    await tamper('delete from audit_event where org_id = ? and seq = 2', trail.orgId);
    const { seq, hash, mac } = (head?.row ?? {}) as Record<string, unknown>;
    await sql('update audit_head set seq = ?, hash = ?, mac = ? where org_id = ?', [
      seq,
      hash,
      mac,
      trail.orgId,
    ]);
    await until('the defect is logged', () => linesOf(server, trail.orgId, 'is broken')[0]);
  });

  it('skips no event if something else has moved the position', async () => {
    const trail = await createTrail('a', 'b', 'c');
    await sql(
      'insert into audit_stream_position select org_id, seq, hash, mac from audit_head where org_id = ?',
      [trail.orgId],
    );
    await sql('update audit_stream_position set seq = 2 where org_id = ?', [trail.orgId]);
    await startStream();
    expect(await receiver.waitFor(trail.orgId, 3)).toEqual([1, 2, 3]);
    await waitForPosition(trail.orgId, 3);
  });
});

describe('the position of the stream', () => {
  it('is stored after the delivery, so that a server which dies before leaves duplicates and no gap', async () => {
    const trail = await createTrail('a', 'b');
    await startStream();
    await waitForPosition(trail.orgId, 2);
    // As if the server had died between the delivery and the storing.
    await sql('delete from audit_stream_position where org_id = ?', [trail.orgId]);
    await until('the events are there again', () => seqsOf(trail.orgId).length === 4 || undefined);
    expect(seqsOf(trail.orgId)).toEqual([1, 2, 1, 2]);
    const hashes = receiver.events().flatMap(({ orgId, hash }) => (orgId === trail.orgId ? [hash] : []));
    expect(hashes.slice(0, 2)).toEqual(hashes.slice(2));
  });

  it('is used by one server at a time: another one delivers nothing until the lease ends', async () => {
    const trail = await createTrail('a');
    await sql('delete from audit_stream');
    await leaseToAnother(60_000);
    const hasTried = watchAttempts();
    await startStream();
    await hasTried();
    expect(seqsOf(trail.orgId)).toEqual([]);
    // As if the time of the server that died were over.
    await sql('update audit_stream set lease_until = ?', [new Date(currentTimeMs() - 1)]);
    expect(await receiver.waitFor(trail.orgId, 1)).toEqual([1]);
  });

  it('is not waited for if its lease ends later than any lease can, such as after the clock was set back', async () => {
    const trail = await createTrail('a');
    await leaseToAnother(dayMs);
    await startStream();
    expect(await receiver.waitFor(trail.orgId, 1)).toEqual([1]);
  });

  // The embedded database has one connection.
  it.runIf(testDatabaseUrl)(
    'keeps a server from delivering what it has read if its lease ends meanwhile',
    async () => {
      await leaseToAnother(60_000);
      await startStream();
      const trail = await createTrail('a');
      let hasTried: (() => Promise<unknown>) | undefined;
      await base.asOwner().transactional(async (em) => {
        await em.execute('lock table audit_event');
        await sql('delete from audit_stream');
        await until('the server reads the trail', async () => {
          const waiting = await sql(
            `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
              and query like 'select%"audit_event"%'`,
          );
          return waiting.length > 0 || undefined;
        });
        await sql('delete from audit_stream');
        await leaseToAnother(60_000);
        hasTried = watchAttempts();
      });
      await hasTried?.();
      expect(seqsOf(trail.orgId)).toEqual([]);
    },
  );
});

describe('events that were not streamed yet', () => {
  const log = createLog('silent');
  const deleteOlderThan = (days: number, streamsAudit: boolean) =>
    deleteEventsBefore(
      { database: base.database, vault: base.vault, log, streamsAudit },
      new Date(Date.now() - days * dayMs),
    );
  const listSeqs = async (orgId: string) =>
    (await sql('select seq from audit_event where org_id = ? order by seq', [orgId])).map(({ seq }) => seq);

  /** Creates an organisation with two events that are ten days old, and a new one. */
  async function createOldTrail(): Promise<TestOrganisation> {
    synchroniseClock(Date.now() - 10 * dayMs, Date.now());
    const trail = await createTrail('a', 'b');
    synchroniseClock(Date.now(), Date.now());
    await createConnection(trail, { name: 'c' });
    return trail;
  }

  it('are kept by the retention until they are delivered', async () => {
    const trail = await createOldTrail();
    await deleteOlderThan(9, true);
    expect(await listSeqs(trail.orgId)).toEqual([1, 2, 3]);
    await startStream();
    await waitForPosition(trail.orgId, 3);
    expect(seqsOf(trail.orgId)).toEqual([1, 2, 3]);
    // Meanwhile, the server may clean up, which another one does not do then.
    await until('they are deleted', async () => {
      await deleteOlderThan(9, true);
      return (await listSeqs(trail.orgId)).length === 1 || undefined;
    });
    await createConnection(trail, { name: 'd' });
    expect(await receiver.waitFor(trail.orgId, 4)).toEqual([1, 2, 3, 4]);
  });

  it('are deleted by the retention without AUDIT_STREAM, and the stream begins with what is left', async () => {
    const trail = await createOldTrail();
    await deleteOlderThan(9, false);
    await startStream();
    expect(await receiver.waitFor(trail.orgId, 3)).toEqual([3]);
  });

  it('are missed with one warning, also if the receiver fails, if they were deleted while AUDIT_STREAM was not set', async () => {
    const first = await startStream();
    synchroniseClock(Date.now() - 10 * dayMs, Date.now());
    const trail = await createTrail('a');
    await waitForPosition(trail.orgId, 1);
    await first.close();
    await createConnection(trail, { name: 'b' });
    synchroniseClock(Date.now(), Date.now());
    await createConnection(trail, { name: 'c' });
    await deleteOlderThan(9, false);
    receiver.behave((socket) => void socket.end());
    const failures = receiver.connections() + 2;
    const second = await startStream();
    await until('it has failed twice', () => receiver.connections() >= failures || undefined);
    receiver.behave(undefined);
    expect(await receiver.waitFor(trail.orgId, 3)).toEqual([1, 3]);
    const lines = await until('the gap is logged', () => {
      const found = linesOf(second, trail.orgId, 'were deleted before they were streamed');
      return found.length > 0 ? found : undefined;
    });
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ level: 'warn', from: 2, to: 2 }]);
  });

  /** Schedules the deletion of an organisation, and lets its time come. */
  async function scheduleDeletion(orgId: string): Promise<void> {
    await organisationCommand(base, 'delete', orgId);
    await changeRows(base, AuditHead, { orgId }, () => ({ deleteAt: new Date(Date.now() - 1_000) }));
  }

  /** Deletes the organisations whose time has come, as the clean-up of a server that streams. Returns what it logs. */
  async function deleteDue(): Promise<string> {
    const lines: string[] = [];
    const output = new Writable({ write: (line, _, done) => done(void lines.push(String(line))) });
    const { database, vault } = base;
    await deleteDueOrganisations({ database, vault, streamsAudit: true, log: createLog('warn', output) });
    return lines.join('');
  }

  it('hold up the deletion of their organisation', async () => {
    const trail = await createTrail('a');
    const { orgId } = trail;
    await scheduleDeletion(orgId);
    expect(await deleteDue()).toContain('waits until AUDIT_STREAM has its audit events');
    expect(await listSeqs(orgId)).not.toEqual([]);
    await startStream();
    await until('all events were delivered', async () => {
      const [head] = await sql('select seq from audit_head where org_id = ?', [orgId]);
      return (await positionOf(orgId)) === head?.seq || undefined;
    });
    await until('the organisation is deleted', async () => {
      await deleteDue();
      return (await positionOf(orgId)) === undefined || undefined;
    });
    expect(await listSeqs(orgId)).toEqual([]);
    const actions = receiver.events().filter((event) => event.orgId === orgId);
    expect(actions.map(({ action }) => action)).toContain('SCHEDULE_ORGANISATION_DELETION');
  });

  it('of a broken trail hold up the deletion of their organisation until the operator deletes it at once', async () => {
    const { orgId } = await createTrail('a', 'b');
    await tamper("update audit_event set connection_name = 'x' where org_id = ? and seq = 2", orgId);
    await scheduleDeletion(orgId);
    const server = await startStream();
    await waitForPosition(orgId, 1);
    await server.close();
    expect(await deleteDue()).toContain('\\"admin organisation delete --now\\" does not wait');
    expect(await listSeqs(orgId)).not.toEqual([]);
    const organisations = await sql('select name from organisation where id = ?', [orgId]);
    await organisationCommand(base, 'delete', orgId, '--now', '--confirm', String(organisations[0]?.name));
    expect(await listSeqs(orgId)).toEqual([]);
  });
});
