import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type FileHandle, open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EntityClass } from '@mikro-orm/core';
import { GraphQLClient } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { entities } from '../src/bootstrap/entities.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { movedTables, unmovedTables } from '../src/moving/tables.ts';
import { dataFolder, lastingData, testDatabaseUrl } from './testkit/database.ts';
import { codeBlocks, readPages } from './testkit/documents.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { fillOrganisation } from './testkit/filled-organisation.ts';
import { runProgram, startProgram } from './testkit/in-process.ts';
import {
  byIdQuery,
  type ConnectionFields,
  createConnection,
  deleteMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { spawnScript, temporaryFolder, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { startTestServer, type TestOrganisation } from './testkit/server.ts';

// Each program here opens its database anew, and the machine may be busy.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const token = '00planted-in-an-organisation-that-moves';
const laptopKey = rootKey('laptop');

/** A database, the environment of programs that use it, and its root keys. */
interface Side {
  location: DatabaseLocation;
  rootKeys: string;
  environment: Record<string, string>;
}

const stack = new AsyncDisposableStack();
/** The embedded database of a laptop, with two organisations. */
let laptop: Side;
let acme: TestOrganisation;
let other: TestOrganisation;
let connection: ConnectionFields;
let filledId: string;
let tables: string[];
let folder: string;

/** An empty database of the kind under test. */
async function newProduction(rootKeys: string): Promise<Side> {
  const { location, environment } = await lastingData(stack);
  return { location, rootKeys, environment: { ...environment, ENCRYPTION_KEYS: rootKeys } };
}

const run = (name: 'export' | 'import' | 'admin' | 'audit:verify' | 'keys', side: Side, ...args: string[]) =>
  runProgram(name, side.environment, ...args);

/** Exports from the laptop, and returns the file and its SHA-256. */
async function exportFromLaptop(...args: string[]): Promise<{ file: string; sha256: string }> {
  const file = join(folder, `${randomBytes(4).toString('hex')}.export`);
  const { stdout, stderr } = await run('export', laptop, '--output', file, '--json', ...args);
  expect(stderr).toBe('');
  return { file, sha256: JSON.parse(stdout).sha256 };
}

async function listOrganisations(side: Side): Promise<string[]> {
  const { stdout } = await run('admin', side, 'organisations', '--json');
  return JSON.parse(stdout).map(({ id }: { id: string }) => id);
}

beforeAll(async () => {
  folder = stack.use(temporaryFolder()).path;
  const { path } = stack.use(dataFolder());
  const environment = { DATA_DIR: path, ENCRYPTION_KEYS: laptopKey };
  laptop = {
    location: { kind: 'embedded', folder: join(path, 'database') },
    rootKeys: laptopKey,
    environment,
  };
  const server = await startTestServer(laptop);
  [acme, other] = [await server.newOrganisation(), await server.newOrganisation()];
  const { id } = await createConnection(acme, { name: 'with-a-token' }, { apiToken: token });
  const description = 'line\u2028separator "quoted" \\ ümläut';
  const deleted = await createConnection(acme, { name: 'deleted', description });
  await acme.client.request(deleteMutation, { id: deleted.id });
  filledId = (await fillOrganisation(server, acme)).connectionId;
  await createConnection(other, { name: 'of-another-organisation' });
  const read = await acme.client.request<{ appConnection: ConnectionFields }>(byIdQuery, { id });
  connection = read.appConnection;
  const em = server.asOwner();
  tables = (entities as readonly EntityClass<object>[]).map((entity) => em.getMetadata(entity).tableName);
  await server.close();
});
afterAll(() => stack.disposeAsync());

describe('npm run export and npm run import', () => {
  it('move an organisation to another database with other root keys, where keys, connections and audit trail work', async () => {
    const production = await newProduction(rootKey('production'));
    const { stdout: recipient } = await run('import', production, '--print-recipient');
    expect(recipient).toMatch(/^acr1[\w-]{48}\n$/);
    expect((await run('import', production, '--print-recipient')).stdout).toBe(recipient);
    const to = ['--recipient', recipient.trim(), '--organisation', acme.orgId];
    const { file, sha256 } = await exportFromLaptop(...to);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const bytes = readFileSync(file);
    for (const secret of [token, acme.apiKey, acme.orgId, 'made-for-tests'])
      expect(foundIn(bytes.toString('latin1'), [secret])).toEqual([]);

    const input = ['--input', file, '--sha256', sha256];
    const dry = await run('import', production, ...input, '--dry-run');
    expect([dry.code, dry.stderr]).toEqual([0, '']);
    expect(dry.stdout).toMatch(
      new RegExp(
        `^organisation ${acme.orgId} "Test organisation" \\(\\d+ rows, 0 of them here before\\): can be imported\n`,
      ),
    );
    expect(await listOrganisations(production)).toEqual([]);

    const imported = await run('import', production, ...input);
    expect([imported.code, imported.stderr]).toEqual([0, '']);
    expect(imported.stdout).toContain(': imported; all counts and hashes are equal\n');
    expect(await listOrganisations(production)).toEqual([acme.orgId]);
    const again = await run('import', production, ...input, '--json');
    expect(again.code).toBe(0);
    const [report] = JSON.parse(again.stdout).organisations;
    expect(report).toMatchObject({ id: acme.orgId, result: 'unchanged', conflicts: [] });
    const empty = movedTables.map(({ name }) => name).filter((name) => report.tables[name].rows === 0);
    expect(empty).toEqual(['organisation_deletion']);

    const verified = await run('audit:verify', production);
    expect([verified.code, verified.stderr]).toEqual([0, '']);
    expect(verified.stdout).toMatch(new RegExp(`^organisation ${acme.orgId}: \\d+ events, intact\\b`, 'm'));
    const keys = JSON.parse((await run('keys', production, 'status', '--json')).stdout);
    expect(keys).toMatchObject({ dataKeysToRewrap: 0, organisationsToReseal: 1, problems: [] });

    const server = await startTestServer(production);
    const client = server.clientFor(acme.apiKey);
    const { id } = connection;
    expect(await client.request(byIdQuery, { id })).toEqual({ appConnection: connection });
    expect(await client.request(verifyMutation, { id })).toEqual({
      verifyAppConnection: { appConnection: { verification: { status: 'VERIFIED' } } },
    });
    const used = await client.request(
      'query ($id: UUID!) { oktaResponse(connectionId: $id, path: "/api/v1/users/me") { status } }',
      { id: filledId },
    );
    expect(used).toEqual({ oktaResponse: { status: 200 } });
    await expect(server.clientFor(other.apiKey).request(byIdQuery, { id: filledId })).rejects.toThrow();
    await server.close();
    expect((await run('audit:verify', production)).code).toBe(0);

    const later = await run('import', production, ...input);
    expect(later.code).toBe(1);
    expect(later.stderr).toContain(
      `Not imported: organisation ${acme.orgId}: audit_head {"org_id":"${acme.orgId}"} is here with other content\n`,
    );
  });

  it('need the root key of the other side without a recipient, and name the one that is missing or wrong', async () => {
    const { file } = await exportFromLaptop();
    const ofProduction = rootKey('production');
    const production = await newProduction(ofProduction);
    const missing = await run('import', production, '--input', file);
    expect(missing).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: `Cannot import: --input ${file}: it is encrypted under the root key "laptop", which is not in ENCRYPTION_KEYS; add that root key, or export it with --recipient\n`,
    });
    production.environment.ENCRYPTION_KEYS = `${ofProduction},${rootKey('laptop')}`;
    const wrong = await run('import', production, '--input', file);
    expect([wrong.code, wrong.stderr]).toEqual([
      1,
      `Cannot import: --input ${file}: the root key "laptop" in ENCRYPTION_KEYS is not the one that encrypted it, or its first line was changed\n`,
    ]);
    production.environment.ENCRYPTION_KEYS = `${ofProduction},${laptopKey}`;
    const { code, stdout, stderr } = await run('import', production, '--input', file, '--json');
    expect([code, stderr]).toEqual([0, '']);
    const results = JSON.parse(stdout).organisations.map(({ result }: { result: string }) => result);
    expect(results).toEqual(['imported', 'imported']);
    expect((await listOrganisations(production)).sort()).toEqual([acme.orgId, other.orgId].sort());
    // The data keys are wrapped under the first root key of this side.
    production.environment.ENCRYPTION_KEYS = ofProduction;
    expect((await run('audit:verify', production)).code).toBe(0);

    // An organisation that has changed here is left as it is, and named.
    await executeAsOwner(
      production.location,
      `update project set name = 'Changed' where org_id = '${other.orgId}'`,
    );
    production.environment.ENCRYPTION_KEYS = `${ofProduction},${laptopKey}`;
    const conflict = await run('import', production, '--input', file);
    expect(conflict.code).toBe(1);
    expect(conflict.stderr).toBe(
      `Not imported: organisation ${other.orgId}: project {"id":"${other.projectId}"} is here with other content\n`,
    );
    expect(conflict.stdout).toMatch(
      new RegExp(`^organisation ${acme.orgId} .*: is here already; nothing was changed$`, 'm'),
    );
    const projects = await executeAsOwner(
      production.location,
      `select name from project where org_id = '${other.orgId}'`,
    );
    expect(projects).toEqual([{ name: 'Changed' }]);
  });

  it('refuse a file that was changed, cut off or exchanged, in one line, and import nothing of it', async () => {
    const production = await newProduction(laptopKey);
    const { file } = await exportFromLaptop();
    const bytes = readFileSync(file);
    const headerBytes = bytes.indexOf('\n') + 1;
    const flip = (index: number) => Buffer.from(bytes.map((byte, at) => (at === index ? byte ^ 1 : byte)));
    const damaged: [how: string, bytes: Buffer][] = [
      ['the first line', flip(bytes.indexOf('"createdAt":"2') + 14)],
      ['the first byte', flip(headerBytes)],
      ['a byte in the middle', flip(Math.floor((headerBytes + bytes.length) / 2))],
      ['the last byte', flip(bytes.length - 1)],
      ['without its end', bytes.subarray(0, -1)],
      ['half of it', bytes.subarray(0, Math.floor(bytes.length / 2))],
      ['only the first line', bytes.subarray(0, headerBytes)],
      ['with an addition', Buffer.concat([bytes, Buffer.from('x')])],
      ['twice', Buffer.concat([bytes, bytes.subarray(headerBytes)])],
    ];
    for (const [how, content] of damaged) {
      writeFileSync(file, content);
      const { code, stdout, stderr } = await run('import', production, '--input', file);
      expect([how, code, stdout, stderr]).toEqual([
        ...[how, 1, ''],
        expect.stringMatching(/^Cannot import: --input [^\n]+: it was changed, or it is incomplete[^\n]+\n$/),
      ]);
    }
    for (const content of ['', 'name,project\n', '{"format":"app-connections-export"}\n']) {
      writeFileSync(file, content);
      const { code, stderr } = await run('import', production, '--input', file);
      expect([code, stderr]).toEqual([1, expect.stringContaining('it is no export')]);
    }
    expect(await listOrganisations(production)).toEqual([]);
  });

  it('refuse a file for another recipient, and one whose SHA-256 is not given or another one', async () => {
    const production = await newProduction(rootKey('production'));
    const recipient = (await run('import', production, '--print-recipient')).stdout.trim();
    const { file, sha256 } = await exportFromLaptop('--recipient', recipient);
    const cases: [args: string[], side: Side, says: string][] = [
      [[], production, 'give the SHA-256 that the export has printed: --sha256 HEX'],
      [['--sha256', '0'.repeat(64)], production, 'its SHA-256 is another one than --sha256'],
      [
        ['--sha256', sha256],
        laptop,
        `it is encrypted for the recipient ${recipient}, which is not this database`,
      ],
    ];
    for (const [args, side, says] of cases) {
      const { code, stderr } = await run('import', side, '--input', file, ...args);
      expect([code, stderr]).toEqual([1, expect.stringContaining(says)]);
    }
    const misspelt = recipient.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'));
    const output = join(folder, 'misspelt');
    const { code, stderr } = await run('export', laptop, '--output', output, '--recipient', misspelt);
    expect([code, stderr]).toEqual([1, expect.stringContaining('--recipient is not a public key')]);
    expect(existsSync(output)).toBe(false);
  });

  it('are on the disk with their entry in the folder when the command ends', async () => {
    const some = await openFile(folder);
    const prototype: FileHandle = Object.getPrototypeOf(some);
    await some.close();
    const flushed: string[] = [];
    const { sync } = prototype;
    using _spy = vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
      await sync.call(this);
      flushed.push((await this.stat()).isDirectory() ? `folder with ${readdirSync(folder).length}` : 'file');
    });
    const before = readdirSync(folder).length;
    await exportFromLaptop('--organisation', acme.orgId);
    // Of the entries, one is the other name of the file, which is removed last.
    expect(flushed).toEqual(['file', `folder with ${before + 2}`]);
  });

  it('do not replace a file, and do not export rows or trails that something else has changed', async () => {
    const file = join(folder, 'exists');
    writeFileSync(file, 'mine');
    const refused = await run('export', laptop, '--output', file);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      `Cannot export: --output ${file}: the file exists, and is not replaced; choose another name\n`,
    ]);
    expect(readFileSync(file, 'utf8')).toBe('mine');
    const sql = (text: string) => executeAsOwner(laptop.location, text);
    const tampered = join(folder, 'tampered');
    const changes: [change: string, undo: string, says: string][] = [
      [
        `update api_key set scopes = scopes || '{x}' where org_id = '${other.orgId}'`,
        `update api_key set scopes = array_remove(scopes, 'x') where org_id = '${other.orgId}'`,
        'api_key {"id":',
      ],
      [
        `update audit_head set seq = seq + 1 where org_id = '${other.orgId}'`,
        `update audit_head set seq = seq - 1 where org_id = '${other.orgId}'`,
        `organisation ${other.orgId}: event`,
      ],
    ];
    for (const [change, undo, says] of changes) {
      await sql(change);
      const { code, stderr } = await run('export', laptop, '--output', tampered);
      expect([code, stderr]).toEqual([1, expect.stringContaining(says)]);
      expect(stderr).toMatch(/^Cannot export: [^\n]+\n$/);
      expect(existsSync(tampered)).toBe(false);
      await sql(undo);
    }
  });

  it('export the embedded database while its server runs and changes it, and only for its user', async () => {
    const rootKeys = rootKey('k1');
    const { path } = stack.use(dataFolder());
    const running: Side = {
      location: { kind: 'embedded', folder: join(path, 'database') },
      rootKeys,
      environment: { DATA_DIR: path, ENCRYPTION_KEYS: rootKeys },
    };
    const apiKey = 'a-bootstrap-key-of-an-operator-0123456789';
    const server = startProgram({ ...running.environment, BOOTSTRAP_API_KEY: apiKey });
    const url = await server.ready();
    const client = new GraphQLClient(`${url}/graphql`, { headers: { authorization: `Bearer ${apiKey}` } });
    const before = await createConnection({ client }, { name: 'before' }, { apiToken: token });
    expect(statSync(join(path, 'control')).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, 'control/socket')).mode & 0o777).toBe(0o600);

    const file = join(folder, 'of-a-running-server');
    const names = Array.from({ length: 20 }, (_, index) => `during-${index}`);
    const [exported] = await Promise.all([
      run('export', running, '--output', file, '--json'),
      ...names.map((name) => createConnection({ client }, { name })),
    ]);
    expect([exported.code, exported.stderr]).toEqual([0, '']);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const [{ tables: sums }] = JSON.parse(exported.stdout).organisations;
    // An event was appended for each connection, and none is half in the export.
    expect(sums.audit_event.rows).toBe(sums.app_connection.rows + 1);

    const again = await run('export', running, '--output', file);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('the file exists')]);
    const unknown = await run(
      'export',
      running,
      '--output',
      join(folder, 'x'),
      '--organisation',
      'Frist organisation',
    );
    expect([unknown.code, unknown.stderr]).toEqual([
      1,
      expect.stringContaining('Did you mean "First organisation"?'),
    ]);
    const nowhere = await run('export', running, '--output', join(folder, 'missing/x'));
    expect([nowhere.code, nowhere.stderr]).toEqual([
      1,
      expect.stringContaining('its folder does not exist (ENOENT)'),
    ]);
    const other = await run('import', running, '--input', file);
    expect([other.code, other.stderr]).toEqual([
      1,
      expect.stringContaining('another server is using this folder'),
    ]);
    server.kill('SIGTERM');
    await server.ended();
    expect(existsSync(join(path, 'control'))).toBe(false);

    const production = await newProduction(rootKeys);
    expect((await run('import', production, '--input', file)).stderr).toBe('');
    expect((await run('audit:verify', production)).code).toBe(0);
    const moved = await startTestServer(production);
    expect(await moved.clientFor(apiKey).request(byIdQuery, { id: before.id })).toEqual({
      appConnection: before,
    });
    await moved.close();
  });

  it('move the first organisation of a laptop as docs/operations/moving.md says, word for word', async () => {
    const { path } = stack.use(dataFolder());
    const here: Side = {
      location: { kind: 'embedded', folder: join(path, 'database') },
      rootKeys: laptopKey,
      environment: { DATA_DIR: path, ENCRYPTION_KEYS: laptopKey },
    };
    const started = startProgram(here.environment);
    await started.ready();
    const apiKey = readFileSync(join(path, 'api-key'), 'utf8').trim();
    started.kill('SIGTERM');
    await started.ended();
    const there = await newProduction(rootKey('production'));
    const [page] = readPages().filter((each) => each.path === 'docs/operations/moving.md');
    const values = { RECIPIENT: '', SHA256: '', '/tmp/moved.export': join(folder, 'moved.export') };
    const runBlock = async (start: string, side: Side) => {
      const block = codeBlocks(page ?? { path: '', text: '' }).find(({ code }) => code.startsWith(start));
      const outputs: string[] = [];
      for (const line of block?.code.trim().split('\n') ?? []) {
        const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(
          ([, quoted, plain]) => quoted ?? plain ?? '',
        );
        const filled = words.map((word) => values[word.replace('$', '') as keyof typeof values] || word);
        const [, , name, ...args] = filled.filter((word) => word !== '--silent' && word !== '--');
        if (words[0] === 'rm') rmSync(filled[1] ?? '');
        else {
          const { code, stdout, stderr } = await run(name as 'export', side, ...args);
          expect([line, code, stderr]).toEqual([line, 0, '']);
          outputs.push(stdout.trim());
        }
      }
      return outputs;
    };
    [values.RECIPIENT = ''] = await runBlock('npm run import --silent', there);
    const [, exported] = await runBlock('npm run admin -- organisation disable', here);
    values.SHA256 = exported?.split(' ').at(-1) ?? '';
    await runBlock('npm run import -- --input', there);
    await runBlock('npm run admin -- organisation delete', here);
    expect(existsSync(values['/tmp/moved.export'])).toBe(false);
    const server = await startTestServer(there);
    expect(await server.clientFor(apiKey).request('{ projects { nodes { name } } }')).toEqual({
      projects: { nodes: [{ name: 'First project' }] },
    });
    await server.close();
  });

  it('report wrong arguments', async () => {
    const cases: [name: 'export' | 'import', args: string[], says: string][] = [
      ['export', [], 'The option --output FILE is missing.'],
      ['export', ['--outptu', 'x'], 'Unknown option --outptu. Did you mean "--output"?'],
      ['import', [], 'The option --input FILE or --connections FILE is missing.'],
      ['import', ['--input', 'x', '--sha256', 'abc'], 'The option --sha256 needs 64 hex digits'],
      ['import', ['--input', 'x', '--print-recipient'], 'The option --print-recipient takes only --json'],
    ];
    for (const [name, args, says] of cases) {
      const { code, stderr } = await run(name, laptop, ...args);
      expect([args, code, stderr]).toEqual([args, 2, expect.stringContaining(says)]);
    }
    const unknown = await run('export', laptop, '--output', join(folder, 'x'), '--organisation', 'Acme');
    expect([unknown.code, unknown.stderr]).toEqual([
      1,
      expect.stringContaining('there is no organisation "Acme".'),
    ]);
    const gone = await run('import', laptop, '--input', join(folder, 'missing'));
    expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining('it cannot be read (ENOENT)')]);
  });

  it('know every table', () => {
    const known = [...movedTables.map(({ name }) => name), ...Object.keys(unmovedTables)];
    expect(tables.sort()).toEqual(known.sort());
  });

  it.runIf(testDatabaseUrl)('go on after kill -9 during an import, and store no row twice', async () => {
    const sums = 20_000;
    const where = `org_id = '${other.orgId}'`;
    await executeAsOwner(
      laptop.location,
      `insert into connection_usage select org_id, id, date_trunc('hour', now()), 'OUTCOME' || n, 2, 1, 9007199254740993, 1, null
        from app_connection, generate_series(1, ${sums}) as n where ${where}`,
    );
    const { file } = await exportFromLaptop('--organisation', other.orgId);
    const production = await newProduction(laptopKey);
    expect(await listOrganisations(production)).toEqual([]);
    const count = async () => {
      const [found] = await executeAsOwner<{ rows: number }>(
        production.location,
        `select count(*)::int as rows from connection_usage where ${where}`,
      );
      return found?.rows ?? 0;
    };
    await using first = spawnScript('launch.js', production.environment, 'import', '--input', file);
    await until('the import has stored rows', async () => ((await count()) > 0 ? true : undefined));
    first.kill('SIGKILL');
    await first.ended();
    const stored = await count();
    expect(stored).toBeGreaterThan(0);
    expect(stored).toBeLessThan(sums);
    const unusable = await startTestServer(production);
    await expect(unusable.clientFor(other.apiKey).request('{ viewer { scopes } }')).rejects.toThrow(
      'No such API key',
    );
    await unusable.close();
    const { code, stdout, stderr } = await run('import', production, '--input', file, '--json');
    expect([code, stderr]).toEqual([0, '']);
    const [report] = JSON.parse(stdout).organisations;
    expect(report).toMatchObject({ result: 'imported', tables: { connection_usage: { rows: sums } } });
    expect(report.existing).toBeGreaterThanOrEqual(stored);
    expect(await count()).toBe(sums);
    expect((await run('audit:verify', production)).code).toBe(0);
  });
});
