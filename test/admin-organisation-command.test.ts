import { join } from 'node:path';
import { GraphQLClient } from 'graphql-request';
import { describe, expect, it, vi } from 'vitest';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { runProgram, startProgram } from './testkit/in-process.ts';
import { createConnection } from './testkit/operations.ts';
import { runScript } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer } from './testkit/server.ts';

// Some tests start processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

type Environment = Record<string, string>;

const admin = (environment: Environment, ...args: string[]) => runProgram('admin', environment, ...args);

async function create(environment: Environment, name: string, ...options: string[]) {
  const { stdout, stderr } = await admin(
    environment,
    ...['create-organisation', '--name', name, ...options, '--json'],
  );
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as { orgId: string; apiKey: string };
}

async function askViewer(url: string, key: string): Promise<string> {
  const client = new GraphQLClient(`${url}/graphql`, { headers: { authorization: `Bearer ${key}` } });
  return client.request('{ viewer { scopes } }').then(
    () => 'OK',
    async (error) => (await errorsOf(Promise.reject(error)))[0]?.extensions.code ?? '',
  );
}

describe('npm run admin -- organisation', () => {
  it('disables an organisation by its name, shows it, and enables it again, for servers that start afterwards', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const { orgId, apiKey } = await create(data, 'Acme Ltd');
    const codes: string[] = [];
    const ask = async () => {
      const server = startProgram(data);
      codes.push(await askViewer(await server.ready(), apiKey));
      server.kill('SIGTERM');
      await server.ended();
    };
    const disabled = await runScript(
      'launch.js',
      data,
      ...['admin', 'organisation', 'disable', 'Acme Ltd', '--reason', 'Unpaid invoices'],
    );
    expect(disabled).toEqual({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(
        `^Organisation ${orgId} "Acme Ltd" is disabled since .+Z\\. Servers refuse its credentials within two seconds\\.\n$`,
      ),
    });
    await ask();
    expect((await admin(data, 'organisations')).stdout).toMatch(/Z +disabled +Acme Ltd\n$/);
    const { stdout } = await admin(data, 'organisation', 'enable', orgId);
    expect(stdout).toBe(`Organisation ${orgId} "Acme Ltd" is enabled.\n`);
    await ask();
    const scheduled = JSON.parse((await admin(data, '--json', 'organisation', 'delete', orgId)).stdout);
    expect(scheduled).toEqual({
      ...{ id: orgId, name: 'Acme Ltd', status: 'DELETION_SCHEDULED' },
      ...{ disabledAt: expect.any(String), deleteAt: expect.any(String) },
    });
    const [listed] = JSON.parse((await admin(data, 'organisations', '--json')).stdout);
    expect(listed).toMatchObject({ status: 'DELETION_SCHEDULED', deleteAt: scheduled.deleteAt });
    expect((await admin(data, 'organisations')).stdout).toContain(
      `disabled, deleted after ${scheduled.deleteAt}`,
    );
    const { findings } = JSON.parse((await runProgram('doctor', data, '--json')).stdout);
    expect(findings).toContainEqual({
      ...{ check: 'organisations', status: 'warning', orgId },
      message: `Organisation ${orgId} ("Acme Ltd") is disabled, and will be deleted after ${scheduled.deleteAt}.`,
      remedy: `To keep it, run "npm run admin -- organisation undelete ${orgId}".`,
    });
    await ask();
    expect(codes).toEqual(['ORGANISATION_DISABLED', 'OK', 'ORGANISATION_DISABLED']);
  });

  it('deletes an organisation now only if its name is repeated, and keeps its name from being reused by accident', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const { orgId } = await create(data, 'Acme');
    const now = ['organisation', 'delete', orgId, '--now'];
    expect(await admin(data, ...now)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--confirm NAME'),
    });
    expect(await admin(data, ...now, '--confirm', orgId)).toEqual({
      ...{ code: 1, stdout: '' },
      stderr:
        'Command failed: --confirm does not match the name of the organisation, "Acme"; nothing was changed\n',
    });
    expect((await admin(data, 'organisations')).stdout).toContain('enabled');
    expect(await admin(data, ...now, '--confirm', 'Acme')).toEqual({
      ...{ code: 0, stderr: '' },
      stdout: expect.stringMatching(
        `^Organisation ${orgId} "Acme" was deleted at .+Z\\. Its audit trail had 4 events; the last one has the hash [0-9a-f]{64}\\.\n$`,
      ),
    });
    expect((await admin(data, 'organisations')).stdout).toBe('');
    const again = await admin(data, ...now, '--confirm', 'Acme');
    expect([again.code, again.stderr]).toEqual([
      1,
      expect.stringContaining('the organisation was deleted at'),
    ]);

    await expect(create(data, 'Acme')).rejects.toThrow(`An organisation with this name was deleted at`);
    const reused = await create(data, 'Acme', '--reuse-name');
    expect(reused.orgId).not.toBe(orgId);
  });

  it('does not create the first organisation again at a restart after it was deleted', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment } = await lastingData(stack);
    const apiKey = 'a-bootstrap-key-of-an-operator-0123456789';
    const data = { ...environment, BOOTSTRAP_API_KEY: apiKey };
    const restart = async () => {
      const server = startProgram(data);
      const code = await askViewer(await server.ready(), apiKey);
      server.kill('SIGTERM');
      await server.ended();
      return code;
    };
    expect(await restart()).toBe('OK');
    const name = 'First organisation';
    await admin(data, 'organisation', 'delete', name, '--now', '--confirm', name);
    expect(await restart()).toBe('UNAUTHENTICATED');
    expect((await admin(data, 'organisations')).stdout).toBe('');
  });

  it.skipIf(testDatabaseUrl)('reports wrong arguments, and suggests what was meant', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment: data } = await lastingData(stack);
    const twins = [await create(data, 'Twin'), await create(data, 'Twin')].map(({ orgId }) => orgId);
    await create(data, 'Payroll');
    const reason = ['--reason', 'x'];
    const cases: [args: string[], code: number, says: string][] = [
      [[], 2, 'A command is missing: disable or enable or delete or undelete.'],
      [['disabel', 'Payroll'], 2, 'Unknown command "disabel". Did you mean "disable"?'],
      [['disable'], 2, 'The name or the id of an organisation is missing.'],
      [['disable', 'Payroll'], 2, 'The option --reason is missing.'],
      [['enable'], 2, 'The name or the id of an organisation is missing.'],
      [['enable', 'Payroll', 'Twin'], 2, 'Unexpected argument "Twin".'],
      [['disable', 'Payroll', '--reasn', 'x'], 2, 'Unknown option --reasn. Did you mean "--reason"?'],
      [['disable', 'Payroll', '--reason', 'a\nb'], 2, 'The option --reason needs 1 to 500 characters'],
      [
        ['disable', 'Payroll', '--reason', 'x'.repeat(501)],
        2,
        'The option --reason needs 1 to 500 characters',
      ],
      [['enable', 'Payroll', ...reason], 2, 'The command organisation enable has no option --reason.'],
      [['delete', 'Payroll', '--after', '7'], 2, 'The option --after needs days or hours, such as 7d'],
      [['delete', 'Payroll', '--after', '0d'], 2, 'at least 1h'],
      [['delete', 'Payroll', '--after', '366d'], 2, 'at most 365d'],
      [['delete', 'Payroll', '--confirm', 'Payroll'], 2, 'The option --confirm belongs to --now.'],
      [['delete', 'Payroll', '--now', '--after', '1d', '--confirm', 'Payroll'], 2, 'exclude each other'],
      [['disable', 'Payrol', ...reason], 1, 'there is no organisation "Payrol". Did you mean "Payroll"?'],
      [
        ['disable', 'Twin', ...reason],
        1,
        `2 organisations have the name "Twin"; use an id: ${twins.join(', ')}`,
      ],
      [['disable', 'Nobody', ...reason], 1, 'there is no organisation "Nobody".'],
      [['disable', unattributedOrgId, ...reason], 1, `there is no organisation "${unattributedOrgId}".`],
    ];
    for (const [args, code, says] of cases) {
      const outcome = await admin(data, 'organisation', ...args);
      expect([args, outcome.code, outcome.stderr]).toEqual([args, code, expect.stringContaining(says)]);
      expect(outcome.stderr.split('\n').length).toBe(2);
    }
    const misspelt = await admin(data, 'organisaton', 'enable', 'Payroll');
    expect(misspelt.stderr).toContain('Unexpected argument "enable".');
    const { stdout } = await admin(data, 'organisations');
    expect(stdout.match(/enabled/g)?.length).toBe(3);
  });
});

describe('npm run audit:verify', () => {
  it('explains a deleted organisation to checkpoints from before, and reports one that was only made to look deleted', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment, location, path } = await lastingData(stack);
    const rootKeys = rootKey('k1');
    const data = { ...environment, ENCRYPTION_KEYS: rootKeys };
    const file = join(path, 'checkpoints.jsonl');
    const server = await startTestServer({ location, rootKeys, config: { auditCheckpointFile: file } });
    const [deleted, living] = [await server.newOrganisation(), await server.newOrganisation()];
    for (const each of [deleted, living]) await createConnection(each);
    await server.close();
    const verify = () => runProgram('audit:verify', data, '--checkpoint', file);
    const confirm = ['--now', '--confirm', 'Test organisation'];
    const { code, stderr } = await admin(data, 'organisation', 'delete', deleted.orgId, ...confirm);
    expect([code, stderr]).toEqual([0, '']);
    const explained = await verify();
    expect(explained).toMatchObject({ code: 0, stderr: '' });
    expect(explained.stdout).toMatch(
      new RegExp(
        `^organisation ${deleted.orgId}: deleted at .+Z, requested by .+@.+; 4 events, the last with the hash [0-9a-f]{64}$`,
        'm',
      ),
    );
    expect((await runProgram('audit:export', data)).code).toBe(0);

    // Another server still has the last checkpoint of the deleted organisation.
    const restarted = await startTestServer({ location, rootKeys, config: { auditCheckpointFile: file } });
    await restarted.close();
    expect(restarted.logs()).not.toContain('does not contain its last checkpoint');

    const sql = (text: string) => executeAsOwner(location, text);
    const forged = `insert into organisation_deletion select '${living.orgId}', name, reason, requested_by, requested_at,
      started_at, completed_at, 1, hash, mac from organisation_deletion where id = '${deleted.orgId}'`;
    await sql(forged);
    const withForgery = await verify();
    expect(withForgery.code).toBe(1);
    expect(withForgery.stdout).toContain(`organisation ${living.orgId}: 1 event, intact`);
    expect(withForgery.stdout).toContain(
      `organisation_deletion {"id":"${living.orgId}"}: changed by something other than this server`,
    );
    await sql(`delete from organisation_deletion where id = '${living.orgId}'`);
    expect(await verify()).toMatchObject({ code: 0 });

    await sql(`delete from organisation_deletion where id = '${deleted.orgId}'`);
    const withoutRecord = await verify();
    expect(withoutRecord.code).toBe(1);
    expect(withoutRecord.stdout).toContain(
      `organisation ${deleted.orgId}: the record of its deletion was removed or changed`,
    );
  });
});
