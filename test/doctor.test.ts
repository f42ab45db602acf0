import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lastingData } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { runProgram } from './testkit/in-process.ts';
import { startOtlpReceiver } from './testkit/otlp-receiver.ts';
import { temporaryFolder } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';

type Environment = Record<string, string>;
type Data = Awaited<ReturnType<typeof lastingData>>;

interface Report {
  code: number | null;
  isHealthy: boolean;
  findings: { check: string; status: string; message: string; remedy?: string; orgId?: string }[];
}

async function doctor(environment: Environment): Promise<Report> {
  const { code, stdout } = await runProgram('doctor', environment, '--json');
  return { code, ...JSON.parse(stdout) };
}

/** The findings of a check, without those of hosts that a test machine may not reach. */
const selectFindings = ({ findings }: Report, ...checks: string[]) =>
  findings.filter(({ check }) => checks.includes(check));

const execute = ({ location }: Data, sql: string) => executeAsOwner(location, sql);

/** A database with an organisation, and its settings. */
async function createData(
  stack: AsyncDisposableStack,
): Promise<{ data: Data; environment: Environment; orgId: string }> {
  const data = await lastingData(stack);
  const environment: Environment = { ...data.environment, ENCRYPTION_KEYS: rootKey('k1') };
  const made = await runProgram('admin', environment, 'create-organisation', '--name', 'Acme', '--json');
  return { data, environment, orgId: JSON.parse(made.stdout).orgId };
}

describe('npm run doctor', () => {
  it('finds database, migrations, keys and clock in order, and names each damaged data key with its organisation', async () => {
    await using stack = new AsyncDisposableStack();
    const { data, environment, orgId } = await createData(stack);
    const healthy = await doctor(environment);
    expect(selectFindings(healthy, 'configuration', 'database', 'migrations', 'clock', 'keys')).toEqual([
      { check: 'configuration', status: 'ok', message: 'Every variable is valid.' },
      {
        check: 'database',
        status: 'ok',
        message: expect.stringMatching(/^PostgreSQL \d+.* as user "\w+"\.$/),
      },
      { check: 'database', status: 'ok', message: 'The server accepts changes.' },
      { check: 'clock', status: 'ok', message: expect.any(String) },
      {
        check: 'migrations',
        status: 'ok',
        message: expect.stringMatching(/^All \d+ migrations are applied/),
      },
      { check: 'keys', status: 'ok', message: expect.stringMatching(/^All [1-9]\d* data keys open\.$/) },
    ]);
    expect(selectFindings(healthy, 'organisations')).toEqual([
      { check: 'organisations', status: 'ok', message: '1 organisation, 1 enabled.' },
    ]);

    await execute(
      data,
      `update data_key set wrapped = overlay(wrapped placing 'AAAA' from 80) where purpose = 'SEAL' and org_id = '${orgId}'`,
    );
    const damaged = await doctor(environment);
    expect([damaged.code, damaged.isHealthy]).toEqual([1, false]);
    expect(selectFindings(damaged, 'keys')).toEqual([
      {
        check: 'keys',
        status: 'problem',
        orgId,
        message: expect.stringMatching(
          new RegExp(`^The SEAL key [0-9a-f-]{36} of organisation ${orgId} \\("Acme"\\) is damaged\\.$`),
        ),
        remedy: expect.stringMatching(
          /^Restore the row of data_key with id .*the credentials of 0 connections are lost/,
        ),
      },
    ]);
    await execute(
      data,
      `insert into data_key (id, org_id, purpose, wrapped, root_key_id, made_under, created_at, mac)
         select '00000000-0000-0000-0000-000000000001', gen_random_uuid(), purpose, wrapped, root_key_id, made_under, created_at, mac
           from data_key limit 1`,
    );
    const created = await runProgram('admin', environment, 'create-organisation', '--name', 'Other');
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const text = await runProgram('doctor', environment);
    expect(text.stdout).toMatch(/^problem +keys: The SEAL key .*\n +Restore the row/m);
  });

  it('names data keys that open but were changed, and organisations without one', async () => {
    await using stack = new AsyncDisposableStack();
    const { data, environment, orgId } = await createData(stack);
    await execute(
      data,
      `update data_key set retired_at = now() where purpose = 'SEAL' and org_id = '${orgId}'`,
    );
    await execute(
      data,
      `update data_key set mac = reverse(mac) where purpose = 'FINGERPRINT' and org_id = '${orgId}'`,
    );
    await execute(data, `delete from data_key where purpose = 'AUDIT' and org_id = '${orgId}'`);
    const { code, ...changed } = await doctor(environment);
    expect(code).toBe(1);
    const messages = selectFindings({ code, ...changed }, 'keys').map(({ message }) => message);
    const ofAcme = `of organisation ${orgId} ("Acme") is damaged.`;
    expect(messages.map((message) => message.replace(/key [0-9a-f-]{36}/, 'key ID')).sort()).toEqual([
      `Organisation ${orgId} ("Acme") has no active AUDIT key.`,
      `The FINGERPRINT key ID ${ofAcme}`,
      `The SEAL key ID ${ofAcme}`,
    ]);
  });

  it('tells a wrong root key of the same id from a missing one', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment } = await createData(stack);
    const wrong = await doctor({
      ...environment,
      ENCRYPTION_KEYS: rootKey('k1').replace(/:.*/, `:${Buffer.alloc(32, 7).toString('base64')}`),
    });
    expect(wrong.code).toBe(1);
    expect(selectFindings(wrong, 'keys')).toContainEqual(
      expect.objectContaining({
        status: 'problem',
        message: expect.stringMatching(
          /^The root key "k1" in ENCRYPTION_KEYS does not open [1-9]\d* data keys wrapped/,
        ),
      }),
    );
    const missing = await doctor({ ...environment, ENCRYPTION_KEYS: rootKey('k2') });
    expect(selectFindings(missing, 'keys')).toEqual([
      expect.objectContaining({
        status: 'problem',
        message: expect.stringMatching(
          /^The root key "k1", which wraps [1-9]\d* data keys, is not in ENCRYPTION_KEYS\.$/,
        ),
        remedy: 'Add the root key "k1" to ENCRYPTION_KEYS again.',
      }),
    ]);
  });

  it('names migrations that are pending, changed or of a newer version, and changes nothing', async () => {
    await using stack = new AsyncDisposableStack();
    const { data, environment } = await createData(stack);
    await execute(data, `delete from mikro_orm_migrations where name = '0022-usage'`);
    const pending = await doctor(environment);
    expect(selectFindings(pending, 'migrations')).toEqual([
      expect.objectContaining({
        status: 'warning',
        message: 'These migrations are not applied yet: 0022-usage.',
      }),
    ]);
    await execute(data, `update mikro_orm_migrations set checksum = 'x' where name = '0001-start'`);
    await execute(
      data,
      `insert into mikro_orm_migrations (name, oldest_server) values ('9998-next', '0.4.0'), ('9999-future', null)`,
    );
    const { code, ...changed } = await doctor(environment);
    expect(code).toBe(1);
    expect(selectFindings({ code, ...changed }, 'migrations').map(({ message }) => message)).toEqual([
      'A newer version has migrated the database: 9999-future.',
      'A newer version has migrated the database, and accepts servers of this one: 9998-next.',
      'These migrations differ from those that were applied: 0001-start.',
      'These migrations are not applied yet: 0022-usage.',
    ]);
  });

  it('says that there is no embedded database yet, and creates nothing', async () => {
    using folder = temporaryFolder();
    const data = join(folder.path, 'data');
    const { code, findings } = await doctor({ DATA_DIR: data });
    expect(code).toBe(0);
    expect(findings).toContainEqual({
      check: 'database',
      status: 'warning',
      message: `There is no database in ${join(data, 'database')} yet.`,
      remedy: 'Start the server, which creates it.',
    });
    expect(existsSync(data)).toBe(false);
  });

  it('reports wrong settings and an unreachable database or identity provider, without their secrets', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment } = await createData(stack);
    const invalid = await doctor({ ...environment, PORT: 'http', RATE_LIMITS: 'yes' });
    expect([invalid.code, invalid.findings.map(({ message }) => message)]).toEqual([
      1,
      ['PORT must be a port number; RATE_LIMITS must be "on" or "off".'],
    ]);
    const unreachable = await doctor({
      ...environment,
      DATABASE_URL: 'postgresql://user:hunter2@127.0.0.1:1/x',
      OIDC_ISSUER: 'http://127.0.0.1:1',
      OIDC_AUDIENCE: 'x',
    });
    expect(unreachable.code).toBe(1);
    expect(selectFindings(unreachable, 'database', 'identity provider')).toEqual([
      expect.objectContaining({
        status: 'problem',
        message: expect.stringMatching(/^DATABASE_URL: .*ECONNREFUSED/),
      }),
      expect.objectContaining({
        status: 'problem',
        message: expect.stringMatching(/^http:\/\/127\.0\.0\.1:1: /),
      }),
    ]);
    expect(JSON.stringify(unreachable)).not.toContain('hunter2');
  });

  it('says whether the receiver of traces accepts them', async () => {
    await using stack = new AsyncDisposableStack();
    const { environment } = await createData(stack);
    const receiver = stack.use(await startOtlpReceiver());
    const traced = {
      ...environment,
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=hunter2',
    };
    const { host } = new URL(receiver.url);
    const find = async (of: Environment) => selectFindings(await doctor(of), 'traces');
    expect(await find(environment)).toEqual([expect.objectContaining({ status: 'skipped' })]);
    expect(await find(traced)).toEqual([
      { check: 'traces', status: 'ok', message: `${host} accepts traces.` },
    ]);
    receiver.behave((response) => response.writeHead(401).end());
    const [refused] = await find(traced);
    expect(refused).toMatchObject({ status: 'warning', message: `${host} answers with status 401.` });
    expect(refused?.remedy).not.toContain('hunter2');
  });

  it('exits with code 2 for wrong arguments', async () => {
    const data = join('no', 'folder');
    expect(await runProgram('doctor', { DATA_DIR: data }, '--jsn')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Unknown option --jsn. Did you mean "--json"?'),
    });
  });
});
