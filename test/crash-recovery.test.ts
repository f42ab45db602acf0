import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { findViolations } from './testkit/faults/check.ts';
import { canMakeCluster } from './testkit/faults/cluster.ts';
import { simulateOutage } from './testkit/faults/db-outage.ts';
import { compareWebhooks, crashDuringDeliveries } from './testkit/faults/deliveries.ts';
import { asynchronousCommitSettings, crashEmbedded, crashOnPostgreSQL } from './testkit/faults/invariants.ts';
import { LoadGenerator } from './testkit/faults/load.ts';
import { OperationLog } from './testkit/faults/operation-log.ts';
import { canMount, fillDisk } from './testkit/faults/small-disk.ts';
import { until } from './testkit/process.ts';
import { startTestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

const nothing = { lost: 0, duplicated: 0, unopenable: 0, wronglyTold: 0, brokenChains: 0 };
// On a busy machine, each start takes seconds.
const timeout = 180_000 * times;

describe.runIf(testDatabaseUrl && canMakeCluster)('crash recovery with PostgreSQL', () => {
  it('loses no acknowledged change when servers and PostgreSQL are killed under load', {
    timeout,
  }, async () => {
    const { findings, wrongAnswers, changes } = await crashOnPostgreSQL({
      servers: times,
      databases: times,
    });
    expect(wrongAnswers).toEqual([]);
    expect(findings).toEqual(nothing);
    expect(changes.acknowledged).toBeGreaterThan(0);
  });

  it('delivers the events of changes and checks, in order within each connection, when servers and PostgreSQL are killed', {
    timeout: 2 * timeout,
  }, async () => {
    const { findings, events, checks } = await crashDuringDeliveries({ servers: times, databases: times });
    expect(findings).toEqual({ lost: 0, invented: 0, renamed: 0, outOfOrder: 0, unchecked: 0 });
    expect(events).toBeGreaterThan(checks);
    expect(checks).toBeGreaterThan(0);
  });

  it('detects lost writes when PostgreSQL acknowledges before fsync (self-check)', {
    timeout,
  }, async () => {
    const { findings } = await crashOnPostgreSQL({ servers: 0, databases: 3 }, ...asynchronousCommitSettings);
    expect(findings.lost).toBeGreaterThan(0);
  });

  it('reports the outage while PostgreSQL is stopped and recovers by itself', {
    timeout,
  }, async () => {
    const { codes, acknowledged, findings } = await simulateOutage('stopped', 2_000);
    expect(Object.keys(codes)).toEqual(['SERVICE_UNAVAILABLE']);
    expect(acknowledged).toBe(0);
    expect(findings).toEqual(nothing);
  });

  it('times out without wrong results when PostgreSQL stops responding', {
    timeout,
  }, async () => {
    const { codes, acknowledged, findings } = await simulateOutage('frozen', 14_000);
    expect(codes).toMatchObject({ SERVICE_UNAVAILABLE: expect.any(Number) });
    // A request sent shortly before the recovery may still have succeeded.
    expect(Object.keys({ data: 0, ...codes }).toSorted()).toEqual(['SERVICE_UNAVAILABLE', 'data']);
    expect(acknowledged).toBe(0);
    expect(findings).toEqual(nothing);
  });
});

describe.runIf(!testDatabaseUrl)('crash recovery with the embedded database', () => {
  it('loses no acknowledged change when the server is killed under load', { timeout }, async () => {
    const { findings, wrongAnswers, changes } = await crashEmbedded({ servers: times });
    expect(wrongAnswers).toEqual([]);
    expect(findings).toEqual(nothing);
    expect(changes.acknowledged).toBeGreaterThan(0);
  });

  it.runIf(canMount)(
    'rejects changes but serves reads on a full disk, without data loss',
    { timeout },
    async () => {
      const { change, read, lastWords, afterwards, findings } = await fillDisk();
      expect(change?.errors?.[0]).toMatchObject({
        message: 'The disk of the database is full. Nothing was changed.',
        extensions: { code: 'SERVICE_UNAVAILABLE', remedy: expect.stringContaining('operator') },
      });
      expect(read?.data).toEqual({ appConnections: { totalCount: expect.any(Number) } });
      expect(lastWords).toMatch(/DATA_DIR: the disk of \S+ is full/);
      expect(afterwards?.data?.change?.appConnection.version).toBe(1);
      expect(findings).toEqual(nothing);
    },
  );
});

/** The arrivals of three events of two connections. */
const allInOrder: [seq: number, connection: string, id: string][] = [
  [1, 'a', 'msg_1'],
  [2, 'b', 'msg_2'],
  [3, 'a', 'msg_3'],
];

describe('checks after a crash (self-check)', () => {
  it.each<[string, object, [seq: number, connection: string, id: string][]]>([
    [
      'a lost event',
      { lost: 1 },
      [
        [1, 'a', 'msg_1'],
        [2, 'b', 'msg_2'],
      ],
    ],
    ['an invented event', { invented: 1 }, [...allInOrder, [4, 'b', 'msg_4']]],
    [
      'an event that was sent again with another webhook-id',
      { renamed: 1 },
      [...allInOrder, [3, 'a', 'msg_5']],
    ],
    ['events of a connection in another order', { outOfOrder: 1 }, allInOrder.toReversed()],
    ['nothing wrong in a repeated delivery', {}, [...allInOrder, [1, 'a', 'msg_1']]],
  ])('detect %s', (_, findings, arrivals) => {
    const received = arrivals.map(([seq, id, webhookId]) => ({
      headers: { 'webhook-id': webhookId },
      event: { type: 'connection.updated', data: { seq, connection: { id } } },
    }));
    expect(
      compareWebhooks(['1 connection.updated', '2 connection.updated', '3 connection.updated'], received),
    ).toEqual({
      ...{ lost: 0, invented: 0, renamed: 0, outOfOrder: 0 },
      ...findings,
    });
  });

  it.each([
    ['a lost connection', { lost: 1, wronglyTold: 1 }, 'delete from app_connection where id = ?'],
    [
      'a lost change',
      { lost: 1, wronglyTold: 1 },
      "update app_connection set version = version - 1, description = 'before' where id = ?",
    ],
    [
      'a change applied twice',
      { duplicated: 1, wronglyTold: 1 },
      'update app_connection set version = version + 1 where id = ?',
    ],
    [
      'credentials that cannot be decrypted',
      { unopenable: 1 },
      `update app_connection set sealed_credentials = overlay(sealed_credentials placing '${randomBytes(4).toString('hex')}' from 300) where id = ?`,
    ],
    [
      'a change without an audit event',
      { wronglyTold: 1, brokenChains: 1 },
      'delete from audit_event where connection_id = ? and seq = (select max(seq) from audit_event where connection_id = ?)',
    ],
  ])('detect %s', async (_, findings, damage) => {
    const server = await startTestServer();
    try {
      const { apiKey } = await server.newOrganisation();
      const journal = new OperationLog();
      const load = new LoadGenerator(journal, apiKey, () => [server.url]);
      load.start(2);
      await until('a connection was changed', () => (journal.counts.acknowledged > 8 ? true : undefined));
      await load.stop();
      expect(await findViolations(journal, server.database, server.vault)).toEqual(nothing);

      const em = server.asOwner();
      const changed = await em.findOneOrFail(AppConnection, { version: { $gt: 1 } });
      await em.execute('alter table audit_event disable trigger user');
      await em.execute(damage, Array(damage.split('?').length - 1).fill(changed.id));
      expect(await findViolations(journal, server.database, server.vault)).toEqual({
        ...nothing,
        ...findings,
      });
    } finally {
      await server.close();
    }
  });
});
