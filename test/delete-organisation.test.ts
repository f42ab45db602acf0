import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  deleteDueOrganisations,
  deleteOrganisation,
  forgetDeletedOrganisations,
} from '../src/administration/delete-organisations.ts';
import { AuditHead } from '../src/audit/audit-event.entity.ts';
import { createLog } from '../src/common/log.ts';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { cleanUpBatchRows } from '../src/database/delete-in-batches.ts';
import { OrganisationDeletion } from '../src/identity/organisation-deletion.entity.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { checkChain, listAuditEvents } from './testkit/access.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { decryptApiToken } from './testkit/decrypt-credentials.ts';
import { fillOrganisation } from './testkit/filled-organisation.ts';
import { type Created, createConnection, createMutation, okta } from './testkit/operations.ts';
import { organisationCommand } from './testkit/organisation-command.ts';
import { spawnScript, temporaryFolder, until } from './testkit/process.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { followLink } from './testkit/setup-links.ts';
import { changeRows } from './testkit/stored-rows.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let server: TestServer;
beforeAll(async () => {
  // The queues of jobs are there once a server looks for work.
  server = await startTestServer({ checkIntervalMs: 3_600_000 });
});
afterAll(() => server.close());

const log = createLog('silent');
const deleteDue = (signal?: AbortSignal) =>
  deleteDueOrganisations({ database: server.database, vault: server.vault, log }, signal);
const deleteNow = ({ orgId }: TestOrganisation) =>
  organisationCommand(server, 'delete', orgId, '--now', '--confirm', 'Test organisation');
const schedule = ({ orgId }: TestOrganisation, ...options: string[]) =>
  organisationCommand(server, 'delete', orgId, ...options);

/** Moves a scheduled deletion into the past. */
async function makeDue({ orgId }: TestOrganisation): Promise<void> {
  await changeRows(server, AuditHead, { orgId }, () => ({ deleteAt: new Date(Date.now() - 1_000) }));
}

const sql = <Row extends object>(text: string, params: unknown[] = []) =>
  server.asOwner().execute<Row[]>(text, params);

/** Every column with ids of organisations, in all schemas, and the tables of jobs. */
async function listOrganisationColumns(): Promise<[table: string, column: string][]> {
  const found = await sql<{ table: string; column: string }>(
    `select format('%I.%I', table_schema, table_name) as "table", column_name as "column"
      from information_schema.columns join pg_class on oid = format('%I.%I', table_schema, table_name)::regclass
      where table_schema like 'public%' and relkind in ('r', 'p')
        and (column_name = 'org_id' or (table_name = 'organisation' and column_name = 'id')
          or (table_name = 'job' and column_name = 'group_id'))
      order by 1`,
  );
  return found.map(({ table, column }) => [table, column]);
}

/** The rows of an organisation in each table, as text. */
async function readRows({ orgId }: Pick<TestOrganisation, 'orgId'>): Promise<Map<string, string[]>> {
  const rows = new Map<string, string[]>();
  for (const [table, column] of await listOrganisationColumns()) {
    const found = await sql<{ row: string }>(
      `select row::text as row from ${table} as row where ${column}::text = ? order by 1`,
      [orgId],
    );
    rows.set(
      table,
      found.map(({ row }) => row),
    );
  }
  return rows;
}

const addJob = ({ orgId }: TestOrganisation) =>
  until('the queue of checks is there', async () => {
    const queues = await sql("select from public_jobs.queue where name = 'check-host'");
    if (queues.length === 0) return undefined;
    await sql(
      `insert into public_jobs.job (name, data, group_id, start_after)
        values ('check-host', jsonb_build_object('orgId', ?::text), ?, now() + interval '1 day')`,
      [orgId, orgId],
    );
    return true;
  });

/** Adds events to the end of a trail, which only the batches of a deletion look at. */
const addEvents = ({ orgId }: TestOrganisation, count: number) =>
  sql(
    `insert into audit_event (org_id, seq, at, action, outcome, fields, previous_hash, hash)
      select ?, 1000 + number, now(), 'CREATE_PROJECT', 'OK', '{}', '', '' from generate_series(1, ?::int) as number`,
    [orgId, count],
  );

const countEvents = async ({ orgId }: TestOrganisation) => {
  const [row] = await sql<{ count: number }>(
    'select count(*)::int as count from audit_event where org_id = ?',
    [orgId],
  );
  return row?.count ?? -1;
};

describe('deleting an organisation', () => {
  it('leaves no row of it in any table, and every row of another one as it was', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const filled = await fillOrganisation(server, mine);
    await fillOrganisation(server, theirs);
    for (const each of [mine, theirs]) await addJob(each);
    const before = await readRows(theirs);
    // Without rows, the test would pass without a deletion.
    const empty = [...(await readRows(mine))].filter(([, rows]) => rows.length === 0);
    expect(empty).toEqual([]);

    expect(await deleteNow(mine)).toEqual({
      ...{ id: mine.orgId, name: 'Test organisation', status: 'DELETED', disabledAt: null, deleteAt: null },
    });
    const left = [...(await readRows(mine))].filter(([, rows]) => rows.length > 0);
    expect(left).toEqual([]);
    expect(await readRows(theirs)).toEqual(before);
    // Rows of the server name it: those of its deletion, and the limits and events that do not belong to it.
    const dump = JSON.parse(await server.dump()).flat() as { row: string }[];
    const naming = dump.filter(({ row }) => row.includes(mine.orgId)).map(({ row }) => row);
    for (const row of naming) expect(row).toMatch(new RegExp(`^\\((${mine.orgId}|${unattributedOrgId}),`));

    await until('the key is unknown', async () => {
      const [error] = await errorsOf(mine.client.request('{ viewer { scopes } }'));
      return error?.extensions.code === 'UNAUTHENTICATED' ? true : undefined;
    });
    expect((await followLink(server.url, filled.setupLink).open()).status).toBe(401);
    const keys = await fetch(`${server.url}/.well-known/app-connections/${filled.connectionId}/jwks.json`);
    expect(await keys.json()).toEqual({ keys: [] });
    await createConnection(theirs, { name: 'after' });
    expect(await checkChain(server, theirs.orgId)).toMatchObject({ events: expect.any(Number) });
  });

  it('waits until its time, when the organisation is disabled, and is cancelled by undelete and enable', async () => {
    const organisation = await server.newOrganisation();
    const scheduled = await schedule(organisation, '--after', '12h', '--reason', 'Contract ended');
    expect(scheduled).toMatchObject({ status: 'DELETION_SCHEDULED' });
    const inHours = (Date.parse(String(scheduled.deleteAt)) - Date.now()) / 3_600_000;
    expect(inHours).toBeGreaterThan(11);
    expect(inHours).toBeLessThan(13);
    const [error] = await errorsOf(organisation.client.request('{ viewer { scopes } }'));
    expect(error).toMatchObject({
      message: `The organisation is disabled. It will be deleted at ${scheduled.deleteAt}.`,
      extensions: { code: 'ORGANISATION_DISABLED' },
    });
    await deleteDue();
    const undeleted = await organisationCommand(server, 'undelete', organisation.orgId);
    expect(undeleted).toMatchObject({ status: 'DISABLED', deleteAt: null });
    await schedule(organisation, '--after', '12h');
    expect(await organisationCommand(server, 'enable', organisation.orgId)).toMatchObject({
      status: 'ENABLED',
    });
    await deleteDue();
    const events = (await listAuditEvents(organisation.client)).filter(({ outcome }) => outcome === 'OK');
    expect(events.map(({ action, targetName }) => [action, targetName])).toEqual([
      ['DISABLE_ORGANISATION', 'Contract ended'],
      ['SCHEDULE_ORGANISATION_DELETION', `${scheduled.deleteAt} Contract ended`],
      ['CANCEL_ORGANISATION_DELETION', null],
      ['SCHEDULE_ORGANISATION_DELETION', expect.stringMatching(/^\S+Z$/)],
      ['CANCEL_ORGANISATION_DELETION', null],
      ['ENABLE_ORGANISATION', null],
    ]);
    expect(await server.asOwner().count(OrganisationDeletion, { id: organisation.orgId })).toBe(0);
  });

  it('is done by the clean-up of a server once its time has come', async () => {
    const organisation = await server.newOrganisation();
    await schedule(organisation);
    await makeDue(organisation);
    // Clean-up runs at the start of a server.
    const starts = testDatabaseUrl ? await startTestServer({ beside: server }) : undefined;
    if (!starts) await deleteDue();
    const deletion = await until('the organisation is deleted', async () => {
      const found = await server.asOwner().findOne(OrganisationDeletion, { id: organisation.orgId });
      return found?.completedAt ? found : undefined;
    });
    await starts?.close();
    expect(deletion).toMatchObject({
      ...{ name: 'Test organisation', reason: null, requestedBy: expect.stringMatching(/^\S+@\S+$/), seq: 3 },
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect([...(await readRows(organisation))].filter(([, rows]) => rows.length > 0)).toEqual([]);
  });

  it('leaves no data key of it in the memory of any server', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const servers = testDatabaseUrl ? [server, await startTestServer({ beside: server })] : [server];
    const rows: AppConnection[] = [];
    for (const { orgId, client } of [mine, theirs]) {
      const { createOktaConnection } = await client.request<Created>(createMutation, okta({}));
      const { id } = createOktaConnection.appConnection;
      const em = server.asOwner();
      rows.push(
        await em.findOneOrFail(AppConnection, { id, orgId }, { populate: ['sealedCredentials', 'mac'] }),
      );
    }
    const decrypt = async ({ vault, database }: TestServer) => {
      const em = database.asSystem();
      const ofOrganisation = (row: AppConnection) =>
        Promise.all([
          decryptApiToken(row, em, vault),
          vault.mac(em, row.orgId, 'FINGERPRINT', {}).catch(() => undefined),
        ]);
      return Promise.all(rows.map(ofOrganisation));
    };
    const before = await Promise.all(servers.map(decrypt));
    for (const found of before.flat(2)) expect(found).toEqual(expect.any(String));

    await schedule(mine);
    await makeDue(mine);
    await deleteDue();
    for (const { database, vault } of servers) await forgetDeletedOrganisations({ database, vault });
    const after = await Promise.all(servers.map(decrypt));
    for (const other of servers.slice(1)) await other.close();
    expect(after).toEqual(before.map(([, other]) => [[undefined, undefined], other]));
  });

  it('goes on where it was interrupted, and cannot be cancelled any more', async () => {
    const organisation = await server.newOrganisation();
    await fillOrganisation(server, organisation);
    await schedule(organisation);
    await makeDue(organisation);
    await addEvents(organisation, 5 * cleanUpBatchRows);
    const stopping = new AbortController();
    let batches = 0;
    const database = {
      ...server.database,
      asSystem: () => {
        batches += 1;
        if (batches === 21) stopping.abort();
        return server.database.asSystem();
      },
    };
    const events = await countEvents(organisation);
    const deps = { database, vault: server.vault };
    expect(await deleteOrganisation(deps, organisation.orgId, stopping.signal)).toBe('more');
    const left = await countEvents(organisation);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(events);
    const [keys] = await sql<{ wrapped: string }>(
      'select string_agg(wrapped || root_key_id, $$$$) as wrapped from data_key where org_id = ?',
      [organisation.orgId],
    );
    expect(keys?.wrapped).toBe('');
    const { orgId } = organisation;
    for (const command of [['enable'], ['undelete'], ['disable', '--reason', 'x'], ['delete']]) {
      const [name = '', ...options] = command;
      await expect(organisationCommand(server, name, orgId, ...options)).rejects.toThrow(
        'The organisation is being deleted.',
      );
    }
    await expect(organisation.client.request('{ viewer { scopes } }')).rejects.toThrow();
    await deleteDue();
    expect([...(await readRows(organisation))].filter(([, rows]) => rows.length > 0)).toEqual([]);
  });

  it.runIf(testDatabaseUrl)(
    'is finished by a server if the command is killed between two batches',
    async () => {
      const organisation = await server.newOrganisation();
      await fillOrganisation(server, organisation);
      const { orgId } = organisation;
      using folder = temporaryFolder();
      const environment = {
        DATA_DIR: folder.path,
        DATABASE_URL: server.location.kind === 'postgresql' ? server.location.url.reveal() : '',
        ENCRYPTION_KEYS: server.rootKey,
      };
      const holder = server.asOwner();
      await holder.begin();
      await holder.execute('select from project where org_id = ? for update', [orgId]);
      await using command = spawnScript(
        'launch.js',
        environment,
        ...['admin', 'organisation', 'delete', orgId, '--now', '--confirm', 'Test organisation'],
      );
      await until('the command waits for the locked row', async () => {
        const waiting = await sql(
          "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%delete from project%' and datname = current_database()",
        );
        return waiting.length > 0 ? true : undefined;
      });
      command.kill('SIGKILL');
      await command.ended();
      await holder.rollback();
      const rows = await readRows(organisation);
      expect(rows.get('public.app_connection')).toEqual([]);
      expect(rows.get('public.project')?.length).toBe(1);
      expect(rows.get('public.audit_event')?.length).toBeGreaterThan(3);
      // Its clean-up runs at the start.
      const another = await startTestServer({ beside: server });
      await until('the organisation is deleted', async () => {
        const found = await server.asOwner().findOne(OrganisationDeletion, { id: orgId });
        return found?.completedAt ? true : undefined;
      });
      await another.close();
      expect([...(await readRows(organisation))].filter(([, left]) => left.length > 0)).toEqual([]);
    },
  );

  it('is done once if two servers do it at the same time', async () => {
    const organisation = await server.newOrganisation();
    await fillOrganisation(server, organisation);
    await addEvents(organisation, 2 * cleanUpBatchRows);
    await schedule(organisation);
    await makeDue(organisation);
    const other = testDatabaseUrl ? await startTestServer({ beside: server }) : server;
    const ofOther = () => deleteDueOrganisations({ database: other.database, vault: other.vault, log });
    await until('the organisation is deleted', async () => {
      await Promise.all([deleteDue(), ofOther(), deleteDue()]);
      const found = await server.asOwner().findOne(OrganisationDeletion, { id: organisation.orgId });
      return found?.completedAt ? true : undefined;
    });
    if (other !== server) await other.close();
    const begun = await sql(
      "select from audit_event where action = 'DELETE_ORGANISATION' and target_name like ?",
      [`${organisation.orgId}%`],
    );
    expect(begun.length).toBe(1);
    expect(await checkChain(server, unattributedOrgId)).toMatchObject({ events: expect.any(Number) });
  });

  it('deletes at most 200 rows in a transaction', async () => {
    const organisation = await server.newOrganisation();
    await addEvents(organisation, 2 * cleanUpBatchRows + 50);
    const before = server.logs().length;
    await deleteNow(organisation);
    const deleted = [
      ...server
        .logs()
        .slice(before)
        .matchAll(/delete from audit_event[^"]*?(\d+) rows? affected/g),
    ];
    if (testDatabaseUrl) return;
    expect(deleted.map(([, count]) => Number(count))).toEqual([200, 200, 53]);
  });

  it('does not begin if its time was moved by a user with write access to the database and without the keys', async () => {
    const organisation = await server.newOrganisation();
    const { orgId } = organisation;
    await schedule(organisation);
    const [head] = await sql<{ delete_at: string }>(
      'select delete_at::text from audit_head where org_id = ?',
      [orgId],
    );
    await sql("update audit_head set delete_at = now() - interval '1 day' where org_id = ?", [orgId]);
    await deleteDue();
    await sql('update organisation_deletion set started_at = now() where id = ?', [orgId]);
    await deleteDue();
    expect(await countEvents(organisation)).toBe(2);
    await sql('update audit_head set delete_at = ? where org_id = ?', [head?.delete_at, orgId]);
    await sql('update organisation_deletion set started_at = null where id = ?', [orgId]);
    await organisationCommand(server, 'enable', orgId);
    await organisation.client.request('{ viewer { scopes } }');
  });

  it('hides its record from organisations, whose events no server may delete before', async () => {
    const organisation = await server.newOrganisation();
    await schedule(organisation);
    const { orgId } = organisation;
    const tenant = () => server.database.forOrganisation(orgId);
    for (const statement of [
      'select * from organisation_deletion',
      'update organisation_deletion set started_at = now()',
      'delete from organisation_deletion',
    ])
      await expect(tenant().execute(statement)).rejects.toThrow(/permission denied/);
    const deleteEvents = `delete from audit_event where org_id = '${orgId}'`;
    await expect(server.database.asSystem().execute(deleteEvents)).rejects.toThrow(/only ever added/);
    await expect(server.asOwner().execute(deleteEvents)).rejects.toThrow(/only ever added/);
    await organisationCommand(server, 'enable', orgId);
  });
});
