import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EntityManager } from '@mikro-orm/postgresql';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import { createLog } from '../src/common/log.ts';
import { version } from '../src/common/server-identity.ts';
import { inSession, ownerSession } from '../src/database/driver/session.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { importLock } from '../src/moving/discard-import.ts';
import { dataFolder, lastingData, testDatabaseUrl } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { runProgram } from './testkit/in-process.ts';
import { createConnection } from './testkit/operations.ts';
import { temporaryFolder, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation } from './testkit/server.ts';

// Each program here opens its database anew, and the machine may be busy.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const rootKeys = rootKey('both-sides');
const stack = new AsyncDisposableStack();
let laptop: Record<string, string>;
let laptopLocation: DatabaseLocation;
let production: Record<string, string>;
let location: DatabaseLocation;
let organisation: TestOrganisation;
let folder: string;

beforeAll(async () => {
  folder = stack.use(temporaryFolder()).path;
  const { path } = stack.use(dataFolder());
  laptop = { DATA_DIR: path, ENCRYPTION_KEYS: rootKeys };
  laptopLocation = { kind: 'embedded', folder: join(path, 'database') };
  const server = await startTestServer({ location: laptopLocation, rootKeys });
  organisation = await server.newOrganisation();
  for (const name of ['a', 'b', 'c']) await createConnection(organisation, { name });
  await server.close();
  const data = await lastingData(stack);
  production = { ...data.environment, ENCRYPTION_KEYS: rootKeys };
  location = data.location;
});
afterAll(() => stack.disposeAsync());

let files = 0;
const newFile = () => {
  files += 1;
  return join(folder, `${files}.export`);
};

async function exportFromLaptop(...args: string[]): Promise<{ file: string; sha256: string }> {
  const file = newFile();
  const { stdout, stderr } = await runProgram('export', laptop, '--output', file, '--json', ...args);
  expect(stderr).toBe('');
  return { file, sha256: JSON.parse(stdout).sha256 };
}

/** Runs a task in a transaction of an administrator of the database. */
async function inOwnTransaction(
  to: DatabaseLocation,
  task: (em: EntityManager) => Promise<void>,
): Promise<void> {
  const orm = await openOrm(to, entities, createLog('silent'));
  try {
    await inSession(ownerSession, () => orm.em.fork().transactional(task));
  } finally {
    await orm.close(true);
  }
}

describe('export', () => {
  it('leaves no file without its event in the audit trail', async () => {
    const ofServer = `where org_id = '${unattributedOrgId}'`;
    await exportFromLaptop();
    await executeAsOwner(laptopLocation, `update audit_head set seq = seq + 1 ${ofServer}`);
    const file = newFile();
    const { code, stderr } = await runProgram('export', laptop, '--output', file);
    await executeAsOwner(laptopLocation, `update audit_head set seq = seq - 1 ${ofServer}`);
    expect([code, stderr]).toEqual([
      1,
      'Cannot export: A row of audit_head was changed by something other than this server. "npm run audit:verify" names it; restore it from a backup.\n',
    ]);
    expect(readdirSync(folder).filter((name) => join(folder, name).startsWith(file))).toEqual([]);
  });

  it('is not kept from its name by what a killed export of the same process id has left', async () => {
    const file = newFile();
    writeFileSync(`${file}.${process.pid}.partial`, 'half of an export');
    const { code, stderr } = await runProgram('export', laptop, '--output', file);
    expect([code, stderr]).toEqual([0, '']);
    expect(readFileSync(`${file}.${process.pid}.partial`, 'utf8')).toBe('half of an export');
  });

  it('fails on a database without organisations, which is rarely the one that was meant', async () => {
    const { path } = stack.use(dataFolder());
    const file = newFile();
    const environment = { DATA_DIR: path, ENCRYPTION_KEYS: rootKeys };
    const { code, stderr } = await runProgram('export', environment, '--output', file);
    expect([code, stderr]).toEqual([
      1,
      'Cannot export: the database has no organisation to export; check DATABASE_URL and DATA_DIR\n',
    ]);
    expect(existsSync(file)).toBe(false);
  });

  it('says why a file cannot be written', async () => {
    const cases: [file: string, says: string][] = [
      [join(folder, 'missing/x'), 'its folder does not exist (ENOENT)'],
      [join(folder, 'x'.repeat(300)), 'its name is too long (ENAMETOOLONG)'],
    ];
    for (const [file, says] of cases) {
      const { code, stderr } = await runProgram('export', laptop, '--output', file);
      expect([code, stderr]).toEqual([1, `Cannot export: --output ${file}: ${says}\n`]);
    }
  });
});

describe('export and import', () => {
  it('refuse a database of a newer version, some of whose tables they do not know', async () => {
    const { file } = await exportFromLaptop();
    await executeAsOwner(
      laptopLocation,
      `insert into mikro_orm_migrations (name, oldest_server) values ('9998-next', '${version}')`,
    );
    const says =
      'a newer version of the server has migrated the database (9998-next); use the command of that version';
    const results = [
      await runProgram('export', laptop, '--output', newFile()),
      await runProgram('import', laptop, '--input', file),
    ];
    await executeAsOwner(laptopLocation, `delete from mikro_orm_migrations where name = '9998-next'`);
    for (const { code, stderr } of results)
      expect([code, stderr]).toEqual([1, expect.stringContaining(says)]);
  });
});

describe('import', () => {
  it('refuses a pipe and a folder at once, and does not wait for what writes into the pipe', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const input of [pipe, folder]) {
      const { code, stderr } = await runProgram('import', production, '--input', input);
      expect([code, stderr]).toEqual([
        1,
        `Cannot import: --input ${input}: it is a folder, a pipe or a device; name a regular file\n`,
      ]);
    }
  });

  it('repeats nothing of a first line that could control the terminal', async () => {
    const { file } = await exportFromLaptop();
    const bytes = readFileSync(file);
    const end = bytes.indexOf('\n');
    const header = JSON.parse(bytes.toString('utf8', 0, end));
    const evil = '\u001b[2J\nAll is well.';
    const headers = [
      { ...header, version: evil, migration: 'other' },
      { ...header, migration: evil },
      { ...header, secret: { ...header.secret, rootKeyId: evil } },
      { ...header, secret: { recipient: evil, sealed: 'x' } },
    ];
    for (const each of headers) {
      writeFileSync(file, Buffer.concat([Buffer.from(JSON.stringify(each)), bytes.subarray(end)]));
      const { code, stderr } = await runProgram('import', production, '--input', file);
      expect([code, stderr]).toEqual([
        1,
        `Cannot import: --input ${file}: it is no export of "app-connections export", or its first line was changed\n`,
      ]);
    }
  });

  it('calls a first line with another algorithm damaged, and not a bug', async () => {
    const recipient = (await runProgram('import', production, '--print-recipient')).stdout.trim();
    const { file } = await exportFromLaptop('--recipient', recipient);
    const bytes = readFileSync(file);
    const end = bytes.indexOf('\n');
    const header = JSON.parse(bytes.toString('utf8', 0, end));
    const [, ...parts] = header.secret.sealed.split('.');
    for (const change of [{ alg: 'none' }, { alg: 'dir' }, { crit: ['x'], x: 1 }]) {
      const jose = { alg: 'ECDH-ES', enc: 'A256GCM', ...change };
      const sealed = [Buffer.from(JSON.stringify(jose)).toString('base64url'), ...parts].join('.');
      const changed = JSON.stringify({ ...header, secret: { recipient, sealed } });
      writeFileSync(file, Buffer.concat([Buffer.from(changed), bytes.subarray(end)]));
      const { code, stderr } = await runProgram('import', production, '--input', file);
      expect([change, code, stderr]).toEqual([
        change,
        1,
        expect.stringContaining('it was changed, or it is'),
      ]);
    }
  });

  it('names what to do about an organisation whose import was interrupted', async () => {
    const { file } = await exportFromLaptop();
    expect((await runProgram('import', production, '--input', file)).code).toBe(0);
    const { orgId } = organisation;
    // What an import stores last.
    for (const table of ['audit_head', 'api_key'])
      await executeAsOwner(location, `delete from ${table} where org_id = '${orgId}'`);
    for (const args of [
      ['organisation', 'disable', orgId, '--reason', 'x'],
      ['organisation', 'delete', orgId],
    ]) {
      const { code, stderr } = await runProgram('admin', production, ...args);
      expect([code, stderr]).toEqual([1, expect.stringContaining(`${orgId}: its import is not finished`)]);
    }
    await executeAsOwner(location, `update project set name = 'Of another export' where org_id = '${orgId}'`);
    const other = await runProgram('import', production, '--input', file);
    expect([other.code, other.stderr]).toEqual([
      1,
      expect.stringContaining(
        `${orgId}: an import of another export of it was not finished here; import that file`,
      ),
    ]);
    await executeAsOwner(location, `update project set name = 'Test project' where org_id = '${orgId}'`);
    expect((await runProgram('import', production, '--input', file)).stderr).toBe('');
  });

  it('replaces what an interrupted import of an older export has stored, with --replace-unfinished', async () => {
    const { file } = await exportFromLaptop();
    expect((await runProgram('import', production, '--input', file)).code).toBe(0);
    const { orgId } = organisation;
    const readRows = () =>
      executeAsOwner<Record<string, unknown>>(
        location,
        `select 'project' as of, id::text, name from project where org_id = '${orgId}'
          union all select 'connection', id::text, name from app_connection where org_id = '${orgId}'
          union all select 'event', seq::text, hash from audit_event where org_id = '${orgId}'
          union all select 'key', id::text, name from api_key where org_id = '${orgId}' order by 1, 2`,
      );
    const rows = await readRows();
    for (const table of ['audit_head', 'api_key'])
      await executeAsOwner(location, `delete from ${table} where org_id = '${orgId}'`);
    // The older export had a row that the newer one does not have, and another content of one that it has.
    await executeAsOwner(
      location,
      `insert into project (id, org_id, name, created_at, mac)
        select gen_random_uuid(), org_id, 'Deleted since', created_at, mac
          from project where org_id = '${orgId}' limit 1`,
    );
    await executeAsOwner(
      location,
      `update app_connection set name = 'an older name' where org_id = '${orgId}' and name = 'a'`,
    );
    const args = ['--input', file, '--replace-unfinished'];
    const tried = await runProgram('import', production, ...args, '--dry-run');
    expect([tried.code, tried.stdout]).toEqual([
      0,
      expect.stringContaining('can be imported, in place of what an unfinished import had stored'),
    ]);
    expect(await readRows()).not.toEqual(rows);
    expect(await runProgram('import', production, ...args)).toMatchObject({ code: 0, stderr: '' });
    expect(await readRows()).toEqual(rows);
    expect((await runProgram('audit:verify', production)).code).toBe(0);
  });

  it('keeps an unfinished import if a row of another organisation is in the way, and one that was in use', async () => {
    const { file } = await exportFromLaptop();
    expect((await runProgram('import', production, '--input', file)).stderr).toBe('');
    const { orgId } = organisation;
    const other = randomUUID();
    // In one statement, because each opens the database anew.
    const execute = (...statements: string[]) =>
      executeAsOwner(location, `do $$ begin ${statements.map((each) => `${each};`).join('\n')} end $$`);
    const ofOrganisation = `where org_id = '${orgId}'`;
    await execute(
      ...['audit_head', 'api_key'].flatMap((table) => [
        `create table kept_${table} as select * from ${table} ${ofOrganisation}`,
        `delete from ${table} ${ofOrganisation}`,
      ]),
      `insert into organisation select (jsonb_populate_record(o, '{"id":"${other}","name":"Other"}')).*
        from organisation as o where id = '${orgId}'`,
      `update project set org_id = '${other}' ${ofOrganisation}`,
    );
    const args = ['--input', file, '--replace-unfinished'];
    expect(await runProgram('import', production, ...args)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/Not imported: .* project .* is here with other content/),
    });
    await execute(
      `update project set org_id = '${orgId}', name = 'Used since' where org_id = '${other}'`,
      'insert into api_key select * from kept_api_key',
      `delete from organisation where id = '${other}'`,
    );
    expect((await runProgram('import', production, ...args)).code).toBe(1);
    await execute(
      `assert (select count(*) = 3 from app_connection ${ofOrganisation})`,
      `update project set name = 'Test project' ${ofOrganisation}`,
      'insert into audit_head select * from kept_audit_head',
      'drop table kept_api_key, kept_audit_head',
    );
  });

  it('keeps an organisation whose import is finished, also with --replace-unfinished', async () => {
    const { file } = await exportFromLaptop();
    expect((await runProgram('import', production, '--input', file)).code).toBe(0);
    const { orgId } = organisation;
    const rename = (from: string, to: string) =>
      executeAsOwner(
        location,
        `update app_connection set name = '${to}' where org_id = '${orgId}' and name = '${from}' returning id`,
      );
    expect(await rename('a', 'used since')).toHaveLength(1);
    const { code, stderr } = await runProgram('import', production, '--input', file, '--replace-unfinished');
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/app_connection .* is here with other content/),
    ]);
    expect(await rename('used since', 'a')).toHaveLength(1);
  });

  it.runIf(testDatabaseUrl)('is done once by two that run at the same time, and both succeed', async () => {
    await executeAsOwner(
      laptopLocation,
      `insert into connection_usage select org_id, id, date_trunc('hour', now()), 'OUTCOME' || n, 2, 1, 1, 1, null
        from app_connection, generate_series(1, 3000) as n`,
    );
    const { file } = await exportFromLaptop();
    const data = await lastingData(stack);
    const empty = { ...data.environment, ENCRYPTION_KEYS: rootKeys };
    const both = await Promise.all([1, 2].map(() => runProgram('import', empty, '--input', file)));
    expect(both).toMatchObject([
      { code: 0, stderr: '' },
      { code: 0, stderr: '' },
    ]);
    expect((await runProgram('audit:verify', empty)).code).toBe(0);
    const events = await executeAsOwner<{ action: string }>(
      data.location,
      `select action from audit_event where org_id = '${unattributedOrgId}' and action = 'IMPORT_ORGANISATION'`,
    );
    expect(events).toHaveLength(1);
  });

  it.runIf(testDatabaseUrl)(
    'stores nothing any more of an organisation that another import has finished meanwhile',
    async () => {
      const { file } = await exportFromLaptop();
      const data = await lastingData(stack);
      const environment = { ...data.environment, ENCRYPTION_KEYS: rootKeys };
      expect((await runProgram('import', environment, '--input', file)).code).toBe(0);
      const { orgId } = organisation;
      const lastTables = ['api_key', 'audit_head'];
      for (const table of lastTables) {
        const where = `where org_id = '${orgId}'`;
        await executeAsOwner(data.location, `create table kept_${table} as select * from ${table} ${where}`);
        await executeAsOwner(data.location, `delete from ${table} ${where}`);
      }
      const names = `from app_connection where org_id = '${orgId}'`;
      await executeAsOwner(data.location, `delete ${names} and name = 'c'`);
      const isWaiting = `select 1 as found from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())`;
      const [locked, waiting] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      // The end of the other import, after which a user has deleted a connection.
      const end = inOwnTransaction(data.location, async (em) => {
        await em.execute(`select pg_advisory_xact_lock(${importLock})`);
        locked.resolve();
        await waiting.promise;
        for (const table of lastTables) await em.execute(`insert into ${table} select * from kept_${table}`);
      });
      await locked.promise;
      const late = runProgram('import', environment, '--input', file);
      await until('the import waits', async () => (await executeAsOwner(data.location, isWaiting))[0]);
      waiting.resolve();
      await end;
      const result = await late;
      expect(result).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('the organisation was used here since'),
      });
      expect(await executeAsOwner(data.location, `select name ${names} order by 1`)).toEqual([
        { name: 'a' },
        { name: 'b' },
      ]);
    },
  );
});
