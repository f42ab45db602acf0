import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { synchroniseClock } from '../src/common/clock.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { dataFolder, lastingData } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { fillOrganisation } from './testkit/filled-organisation.ts';
import { runProgram } from './testkit/in-process.ts';
import { createConnection, deleteMutation } from './testkit/operations.ts';
import { temporaryFolder, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation } from './testkit/server.ts';

// Each program here opens its database anew, and the machine may be busy.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const dayMs = 86_400_000;
const rootKeys = rootKey('both-sides');
const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
afterEach(() => {
  synchroniseClock(Date.now(), Date.now());
});

/** Makes an organisation whose rows are all due for a check, a warning, a delivery or a clean-up. */
async function addNeglected(location: DatabaseLocation): Promise<TestOrganisation> {
  const server = await startTestServer({ location, rootKeys });
  synchroniseClock(Date.now() - 100 * dayMs, Date.now());
  const organisation = await server.newOrganisation();
  await fillOrganisation(server, organisation);
  const { id } = await createConnection(organisation, { name: 'deleted' });
  await organisation.client.request(deleteMutation, { id });
  synchroniseClock(Date.now(), Date.now());
  await server.close();
  const { orgId } = organisation;
  const own = `where org_id = '${orgId}'`;
  for (const statement of [
    `update app_connection set next_check_at = null ${own}`,
    `update host_outage set next_check_at = now() - interval '40 days' ${own}`,
    `update host_outage_history set since = now() - interval '401 days', until = now() - interval '400 days' ${own}`,
    `update mail_count set since = now() - interval '5 days' ${own}`,
    `insert into connection_usage select org_id, id, date_trunc('hour', now()) - interval '800 days', 'OK', 2, 1, 1, 1, null
      from app_connection ${own}`,
    `insert into connection_last_use select org_id, gen_random_uuid(), now(), null from app_connection ${own} limit 1`,
  ])
    await executeAsOwner(location, statement);
  return organisation;
}

describe('an import that was interrupted', () => {
  it('is finished by a second one, although a server has run meanwhile, which leaves its rows alone', async () => {
    const { path } = stack.use(dataFolder());
    const laptop = { kind: 'embedded', folder: join(path, 'database') } as const;
    const { orgId } = await addNeglected(laptop);
    const file = join(stack.use(temporaryFolder()).path, 'moved.export');
    const here = { DATA_DIR: path, ENCRYPTION_KEYS: rootKeys };
    expect((await runProgram('export', here, '--output', file)).stderr).toBe('');

    const { location, environment } = await lastingData(stack);
    const there = { ...environment, ENCRYPTION_KEYS: rootKeys };
    const other = await addNeglected(location);
    const before = await runProgram('import', there, '--input', file);
    expect([before.code, before.stderr]).toEqual([0, '']);
    // What an import stores last.
    for (const table of ['audit_head', 'api_key'])
      await executeAsOwner(location, `delete from ${table} where org_id = '${orgId}'`);

    const server = await startTestServer({
      ...{ location, rootKeys, checkIntervalMs: 100, expiryIntervalMs: 100, webhookIntervalMs: 100 },
    });
    await until('the server has worked for the other organisation', async () => {
      const [left] = await server.asOwner().execute<{ rows: number }[]>(
        `select (select count(*) from mail_count where org_id = ?)
          + (select count(*) from connection_usage where org_id = ? and hour < now() - interval '700 days')
          + (select count(*) from app_connection where org_id = ? and next_check_at is null) as rows`,
        [other.orgId, other.orgId, other.orgId],
      );
      return Number(left?.rows) === 0 || undefined;
    });
    await server.close();

    const { code, stdout, stderr } = await runProgram('import', there, '--input', file, '--json');
    expect([code, stderr]).toEqual([0, '']);
    const [report] = JSON.parse(stdout).organisations;
    const { tables } = report;
    expect(report).toMatchObject({ id: orgId, result: 'imported', conflicts: [] });
    const closing = tables.audit_head.rows + tables.api_key.rows;
    const rows = Object.values<{ rows: number }>(tables).reduce((total, table) => total + table.rows, 0);
    expect(report.existing).toBe(rows - closing);
    expect((await runProgram('audit:verify', there)).code).toBe(0);
  });
});
