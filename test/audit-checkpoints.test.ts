import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { AuditHead } from '../src/audit/audit-event.entity.ts';
import { CheckpointFile, parseCheckpoints } from '../src/audit/checkpoint-file.ts';
import { commandLine } from '../src/common/command-name.ts';
import { StartupError } from '../src/common/errors.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { checkChain } from './testkit/access.ts';
import { lastingData } from './testkit/database.ts';
import { createDatabaseAttacker } from './testkit/database-attacker.ts';
import { runProgram } from './testkit/in-process.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServerOptions } from './testkit/server.ts';

// Each server here opens its database anew, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const stack = new AsyncDisposableStack();
const kinds = ['whole', 'cut', 'emptied', 'replaced', 'gone'] as const;
const organisations = new Map<string, TestOrganisation>();
const getOrgId = (kind: (typeof kinds)[number]) => organisations.get(kind)?.orgId ?? '';
let options: TestServerOptions;
let file: string;
let settings: Record<string, string>;

const tablesOfOrganisations = [
  'app_connection',
  'idempotent_request',
  'api_key',
  'project',
  'data_key',
  'audit_head',
];

/** Runs `npm run audit:verify` on the database, which no server has open. */
const audit = (...flags: string[]) => runProgram('audit:verify', settings, ...flags);

const createIn = ({ client }: TestOrganisation, name: string) =>
  client.request(createMutation, okta({ name }));

beforeAll(async () => {
  const { path, location, environment } = await lastingData(stack);
  const rootKeys = rootKey('k1');
  options = { location, rootKeys };
  file = join(path, 'checkpoints.jsonl');
  settings = { ...environment, ENCRYPTION_KEYS: rootKeys };
});
afterAll(() => stack.disposeAsync());

describe('audit checkpoints', () => {
  it('are signed and written to the log and the file, once per growth of a trail', async () => {
    const server = await startTestServer({ ...options, config: { auditCheckpointFile: file } });
    for (const kind of kinds) organisations.set(kind, await server.newOrganisation());
    for (const organisation of organisations.values()) {
      for (const name of ['a', 'b']) await createIn(organisation, name);
    }
    await server.close();
    const written = parseCheckpoints(readFileSync(file, 'utf8'));
    expect(written.map(({ orgId, seq }) => [orgId, seq]).sort()).toEqual(
      [...kinds.map((kind) => [getOrgId(kind), 2]), [unattributedOrgId, 1]].sort(),
    );
    expect(parseCheckpoints(server.logs())).toEqual(written);
    expect(statSync(file).mode & 0o777).toBe(0o600);

    const restarted = await startTestServer({ ...options, config: { auditCheckpointFile: file } });
    const intact = organisations.get('whole');
    if (intact) await createIn({ ...intact, client: restarted.clientFor(intact.apiKey) }, 'c');
    await restarted.close();
    const more = parseCheckpoints(readFileSync(file, 'utf8')).slice(written.length);
    expect(more.map(({ orgId, seq }) => [orgId, seq])).toEqual([[getOrgId('whole'), 3]]);
    expect(await audit('--checkpoint', file)).toMatchObject({ code: 0 });
  });

  it('reveal a trail that was truncated, emptied, replaced or removed with a matching old head', async () => {
    const server = await startTestServer(options);
    const sql = createDatabaseAttacker(server);
    const macs = await server.vault.rowMacs(server.asOwner());
    /** Restores the rows of an earlier time, as an attacker with a copy of them could. */
    const setBack = async (orgId: string, seq: number) => {
      const [{ hash } = { hash: '' }] = await sql(
        'select hash from audit_event where org_id = ? and seq = ?',
        [orgId, seq],
      );
      const status = { disabledAt: null, deleteAt: null, deletionStartedAt: null };
      const head = macs.signed(server.asOwner(), AuditHead, { orgId, seq, hash: String(hash), ...status });
      await sql('alter table audit_event disable trigger all');
      await sql('delete from audit_event where org_id = ? and seq > ?', [orgId, seq]);
      await sql('alter table audit_event enable trigger all');
      await sql('update audit_head set seq = ?, hash = ?, mac = ? where org_id = ?', [
        seq,
        head.hash,
        head.mac,
        orgId,
      ]);
    };
    await setBack(getOrgId('cut'), 1);
    await setBack(getOrgId('emptied'), 0);
    await setBack(getOrgId('gone'), 0);
    await setBack(getOrgId('replaced'), 1);
    const replaced = organisations.get('replaced');
    if (replaced) await createIn({ ...replaced, client: server.clientFor(replaced.apiKey) }, 'other');
    for (const [kind, events] of [
      ['cut', 1],
      ['emptied', 0],
      ['replaced', 2],
    ] as const) {
      expect([kind, await checkChain(server, getOrgId(kind))]).toEqual([kind, { events }]);
    }
    for (const table of tablesOfOrganisations)
      await sql(`delete from ${table} where org_id = ?`, [getOrgId('gone')]);
    await sql('alter table organisation disable trigger all');
    await sql('delete from organisation where id = ?', [getOrgId('gone')]);
    await sql('alter table organisation enable trigger all');
    await server.close();

    expect((await audit()).code).toBe(0);
    const result = await audit('--checkpoint', file);
    expect(result.code).toBe(1);
    expect(result.stdout).toContain(`organisation ${getOrgId('whole')}: 3 events, intact\n`);
    expect(result.stdout).toContain(
      `organisation ${getOrgId('cut')}: event 2 was truncated since its checkpoint\n`,
    );
    expect(result.stdout).toContain(
      `organisation ${getOrgId('emptied')}: event 1 was truncated since its checkpoint\n`,
    );
    expect(result.stdout).toContain(
      `organisation ${getOrgId('gone')}: event 1 was truncated since its checkpoint\n`,
    );
    expect(result.stdout).toContain(
      `organisation ${getOrgId('replaced')}: event 2 was replaced since its checkpoint\n`,
    );
  });

  it('cause an error in the log when a trail does not contain the last one, and no new checkpoint', async () => {
    const before = readFileSync(file, 'utf8').trim();
    const server = await startTestServer({ ...options, config: { auditCheckpointFile: file } });
    const replaced = organisations.get('replaced');
    if (replaced) await createIn({ ...replaced, client: server.clientFor(replaced.apiKey) }, 'one-more');
    await server.close();
    for (const kind of ['cut', 'emptied', 'replaced'] as const) {
      const line = server
        .logs()
        .split('\n')
        .find(
          (text) => text.includes('does not contain its last checkpoint') && text.includes(getOrgId(kind)),
        );
      expect([kind, line]).toEqual([kind, expect.stringContaining('"level":"error"')]);
    }
    expect(readFileSync(file, 'utf8').trim()).toBe(before);
  });

  it('are rejected by audit:verify when forged or when the file contains none', async () => {
    const text = readFileSync(file, 'utf8');
    const [first] = parseCheckpoints(text);
    const forged = `${file}.forged`;
    writeFileSync(forged, text);
    appendFileSync(forged, `${JSON.stringify({ ...first, seq: 1_000 })}\n`);
    const result = await audit('--checkpoint', forged);
    expect(result.stdout).toContain(`organisation ${first?.orgId}: not written by this server\n`);
    writeFileSync(forged, 'nothing\n');
    for (const [flags, message] of [
      [['--checkpoint', forged], 'contains no checkpoint'],
      [['--checkpoint', join(file, 'nowhere')], 'cannot be read (ENOTDIR)'],
    ] as const) {
      expect(await audit(...flags)).toMatchObject({ code: 1, stderr: expect.stringContaining(message) });
    }
    const usage = expect.stringContaining(`Unknown option --nonsense.\n${commandLine('audit verify')}`);
    expect(await audit('--nonsense')).toMatchObject({ code: 2, stderr: usage });
  });

  it('are kept in a bounded file that survives a torn line and keeps the newest of each trail', async () => {
    const path = `${file}.bounded`;
    const checkpoint = (seq: number, orgId = 'a'.repeat(36)) => ({
      orgId,
      seq,
      hash: 'h'.repeat(64),
      at: 'at',
      mac: 'm',
    });
    writeFileSync(path, `${JSON.stringify(checkpoint(1, 'b'))}\n{"orgId":"cut sh`);
    const target = new CheckpointFile(path);
    for (let seq = 0; seq < 60_000; seq += 2_000) {
      await target.append(Array.from({ length: 2_000 }, (_, index) => checkpoint(seq + index + 1)));
      expect(statSync(path).size).toBeLessThan(9 * 2 ** 20);
    }
    const reread = new CheckpointFile(path);
    expect([...reread.newest.values()]).toEqual([checkpoint(1, 'b'), checkpoint(60_000)]);
    expect(() => new CheckpointFile(join(file, 'nowhere'))).toThrow(StartupError);
  });

  it('are not needed to detect an added event or a removed organisation', async () => {
    const server = await startTestServer(options);
    const sql = createDatabaseAttacker(server);
    const organisation = () => server.newOrganisation();
    const [before, far, ...hidden] = [
      await organisation(),
      await organisation(),
      await organisation(),
      await organisation(),
    ];
    for (const each of [before, far, ...hidden]) await createIn(each, 'a');
    const copy = (seq: number) =>
      `insert into audit_event select (jsonb_populate_record(event, jsonb_build_object('seq', ${seq}))).*
        from audit_event event where org_id = ? and seq = 1`;
    await sql(copy(0), [before.orgId]);
    await sql(copy(-2_000), [far.orgId]);
    const [withTrail, withoutTrail] = hidden.map(({ orgId }) => orgId);
    for (const table of ['audit_event', 'organisation'])
      await sql(`alter table ${table} disable trigger all`);
    await sql('delete from audit_event where org_id = ?', [withoutTrail]);
    await sql('delete from audit_head where org_id = ?', [withoutTrail]);
    await sql('delete from organisation where id in (?, ?)', [withTrail, withoutTrail]);
    for (const table of ['audit_event', 'organisation']) await sql(`alter table ${table} enable trigger all`);
    await server.close();

    const result = await audit();
    expect(result.code).toBe(1);
    expect(result.stdout).toContain(`organisation ${before.orgId}: event 0 was added\n`);
    expect(result.stdout).toContain(`organisation ${far.orgId}: event -2000 was added\n`);
    expect(result.stdout).toContain(`organisation ${withTrail}: its own row was removed\n`);
    expect(result.stdout).toContain(`organisation ${withoutTrail}: its own row was removed\n`);
  });
});
