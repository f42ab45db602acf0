import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GraphQLClient } from 'graphql-request';
import { describe, expect, it, vi } from 'vitest';
import { commandLine } from '../src/common/command-name.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { runProgram, startProgram } from './testkit/in-process.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { runScript } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';

// Some tests start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000 });

/** Runs `npm run keys`. */
const keys = (environment: Record<string, string>, ...args: string[]) =>
  runProgram('keys', environment, ...args);

/** Runs `npm run keys` in a process of its own. */
const keysProcess = (environment: Record<string, string>, ...args: string[]) =>
  runScript('launch.js', environment, 'keys', ...args);

const organisation = (environment: Record<string, string>, name: string) =>
  runProgram('admin', environment, 'create-organisation', '--name', name);

/** Parses the output of `status`: data keys, connections and advice for each root key. */
function parseStatus(stdout: string): Record<string, string> {
  const lines = [...stdout.matchAll(/^(\S+) +(\d+) +(\d+) +(.*)$/gm)];
  return Object.fromEntries(lines.map(([, id, dataKeys, made, use]) => [id, `${dataKeys} ${made} ${use}`]));
}

describe('npm run keys', () => {
  it('reports and moves the data of each root key, until the old root key can be removed', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const [old, next] = [rootKey('old'), rootKey('next')];
    const apiKey = randomBytes(24).toString('hex');
    const server = stack.use(startProgram({ ...data, ENCRYPTION_KEYS: old, BOOTSTRAP_API_KEY: apiKey }));
    const headers = { authorization: `Bearer ${apiKey}` };
    const client = new GraphQLClient(`${await server.ready()}/graphql`, { headers });
    await client.request(createMutation, okta());
    await client.request(createMutation, okta({ name: 'another' }));
    server.kill('SIGTERM');
    await server.ended();

    const both = { ...data, ENCRYPTION_KEYS: `${next},${old}` };
    const before = await keys(both, 'status');
    // The trail of unattributed events has data keys, and one more is the integrity key.
    expect([before.code, parseStatus(before.stdout)]).toEqual([
      0,
      {
        next: '0 0 primary: wraps new data keys',
        old: '7 2 in use: cannot be removed',
      },
    ]);
    expect(before.stdout).toContain('Data keys that are wrapped under other root keys: 7.');
    await organisation(both, 'Acme');
    expect(parseStatus((await keys(both, 'status')).stdout).next).toMatch(/^3 0 /);

    const rotated = await keysProcess(both, 'rotate');
    expect(rotated).toMatchObject({ code: 0, stderr: '' });
    expect(rotated.stdout).toContain('7 data keys wrapped under "next"');
    expect(parseStatus(rotated.stdout)).toEqual({
      next: '10 2 primary: wraps new data keys',
      old: '0 0 not in use: can be removed',
    });
    expect(rotated.stdout).toContain('Organisations whose data keys were created under other root keys: 2.');
    expect(rotated.stdout).toContain('Connections under such data keys: 2, and under retired ones: 0.');

    // The old root key is removed.
    const alone = { ...data, ENCRYPTION_KEYS: next };
    const resealed = await keys(alone, 'rotate', '--reseal');
    expect(resealed).toMatchObject({ code: 0, stderr: '' });
    expect(resealed.stdout).toContain('new data keys for 2 organisations\n2 connections encrypted again');
    expect(resealed.stdout).toContain(
      'All connections are encrypted under data keys that were created under "next".',
    );
    expect((await keys(alone, 'rotate', '--reseal')).stdout).toContain('0 connections encrypted again');
  });

  it('reports a missing root key and rotates nothing without it', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const [old, next] = [rootKey('old'), rootKey('next')];
    await organisation({ ...data, ENCRYPTION_KEYS: old }, 'Acme');
    const alone = { ...data, ENCRYPTION_KEYS: next };
    const { code, stdout } = await keys(alone, 'status');
    expect([code, parseStatus(stdout).old]).toEqual([1, '7 0 missing: add it again']);
    expect(stdout).toContain(
      'problem  keys: The root key "old", which wraps 7 data keys, is not in ENCRYPTION_KEYS.',
    );
    const refused = await keys(alone, 'rotate');
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/^Command failed: ENCRYPTION_KEYS: .*"old", which is not among them\n$/),
    ]);
  });

  it('names a damaged data key with its organisation, and a wrong root key of the same id', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data, location } = await lastingData(stack);
    const environment = { ...data, ENCRYPTION_KEYS: rootKey('k1') };
    await organisation(environment, 'Acme');
    const healthy = await keys(environment, 'status');
    expect([healthy.code, healthy.stdout]).toEqual([0, expect.stringContaining('All 7 data keys open.')]);
    const wrong = await keys({ ...data, ENCRYPTION_KEYS: rootKey('k1') }, 'status');
    expect([wrong.code, wrong.stdout]).toEqual([
      1,
      expect.stringMatching(
        /problem +keys: The root key "k1" in ENCRYPTION_KEYS does not open 7 data keys .*\n +Put the root key into/,
      ),
    ]);

    const [damagedKey] = await executeAsOwner<{ orgId: string }>(
      location,
      `update data_key set wrapped = overlay(wrapped placing '----' from 99)
        where purpose = 'FINGERPRINT' and org_id = (select id from organisation where name = 'Acme') returning org_id as "orgId"`,
    );
    const orgId = damagedKey?.orgId;
    const damaged = await keys(environment, 'status');
    const name = `The FINGERPRINT key [0-9a-f-]{36} of organisation ${orgId} \\("Acme"\\) is damaged\\.`;
    const remedy = /Restore the row of data_key .*no connection of the organisation can be changed\./;
    expect([damaged.code, damaged.stdout]).toEqual([
      1,
      expect.stringMatching(new RegExp(`problem +keys: ${name}\n +${remedy.source}`)),
    ]);
    expect(parseStatus(damaged.stdout)).toEqual({ k1: '7 0 primary: wraps new data keys' });
    const json = await keys(environment, 'status', '--json');
    expect(JSON.parse(json.stdout).problems).toEqual([
      {
        ...{ check: 'keys', status: 'problem', orgId },
        ...{ message: expect.stringMatching(new RegExp(name)), remedy: expect.stringMatching(remedy) },
      },
    ]);
  });

  it.skipIf(testDatabaseUrl)(
    'prints the usage and changes nothing when the arguments are invalid',
    async () => {
      await using stack = new AsyncDisposableStack();
      const { environment: data } = await lastingData(stack);
      const [one, two] = [rootKey('one'), rootKey('two')];
      const missing = join(data.DATA_DIR ?? '', 'missing');
      const empty = join(data.DATA_DIR ?? '', 'empty');
      writeFileSync(empty, '\n');
      const usage = commandLine('keys', 'status');
      const arn = 'arn:aws:kms:eu-west-1:123456789012:alias/ours';
      /** The cases that a process of its own has to end as it should with: one for each exit code. */
      const processes = [0, 2, 6];
      const cases: [args: string[], environment: Record<string, string>, code: number, says: string][] = [
        [['help'], {}, 0, usage],
        [[], {}, 2, usage],
        [['frobnicate'], {}, 2, usage],
        [['rotate', '--bogus'], {}, 2, usage],
        [['rotate', 'twice'], {}, 2, usage],
        [['status', '--reseal'], {}, 2, usage],
        [
          ['status'],
          { ENCRYPTION_KEYS: one, ENCRYPTION_KEYS_FILE: missing },
          1,
          'ENCRYPTION_KEYS and ENCRYPTION_KEYS_FILE exclude each other; set only one of them',
        ],
        [
          ['status'],
          { ENCRYPTION_KEYS_FILE: missing },
          1,
          `ENCRYPTION_KEYS_FILE ${missing}: cannot be read (ENOENT)`,
        ],
        [
          ['status'],
          { ENCRYPTION_KEYS_FILE: empty },
          1,
          `ENCRYPTION_KEYS_FILE ${empty}: entry 1 is not of the form`,
        ],
        [
          ['status'],
          { ENCRYPTION_KEYS: `${one}\n,${two},k3` },
          1,
          'ENCRYPTION_KEYS: entry 3 is not of the form',
        ],
        [
          ['status'],
          { ENCRYPTION_KEYS: `${one},k2:${arn}` },
          1,
          'entry 2 does not name a key as AWS KMS does',
        ],
      ];
      for (const [index, [args, environment, code, says]] of cases.entries()) {
        const outcome = await (processes.includes(index) ? keysProcess : keys)(
          { ...data, ...environment },
          ...args,
        );
        const output = outcome.stdout + outcome.stderr;
        expect([args, outcome.code, output]).toEqual([args, code, expect.stringContaining(says)]);
        expect(outcome.stderr.split('\n').length).toBeLessThanOrEqual(2);
        for (const key of [one, two]) expect(output).not.toContain(key.split(':')[1]?.slice(0, 12));
      }
    },
  );

  it.runIf(!testDatabaseUrl)('asks to stop the server when it uses the embedded database', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const server = stack.use(startProgram(data));
    await server.ready();
    const { code, stderr } = await keys(data, 'rotate');
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^Command failed: .*another server is using this folder/),
    ]);
  });
});
