import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { makeCertificates } from './testkit/certificates.ts';
import { errorOfStart, tryStart } from './testkit/in-process.ts';
import { byIdQuery, type Created, createMutation } from './testkit/operations.ts';
import {
  clusterPassword,
  hasPostgresPrograms,
  type PostgresCluster,
  startPostgresCluster,
  startSessionPooler,
} from './testkit/postgres-cluster.ts';
import { closedPort, temporaryFolder } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer } from './testkit/server.ts';

// The first test of a cluster waits for initdb, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const stack = new AsyncDisposableStack();
let cluster: PostgresCluster;
const folder = stack.use(temporaryFolder());
const authority = join(folder.path, 'ca.crt');
/** Different servers with the same keys. */
const keys = { DATA_DIR: join(folder.path, 'data'), ENCRYPTION_KEYS: rootKey('k1') };
const encoded = encodeURIComponent(clusterPassword);

describe.runIf(hasPostgresPrograms())('DATABASE_URL', () => {
  beforeAll(async () => {
    const { ca, good } = await makeCertificates();
    writeFileSync(authority, ca.cert);
    cluster = stack.use(await startPostgresCluster({ tls: good }));
    await cluster.sql('postgres', 'create database app');
  });
  afterAll(() => stack.disposeAsync());

  /** Starts a server on a new database, once to migrate it and once more, and creates and reads a connection in between. */
  async function useTwice(url: string, schema?: string): Promise<void> {
    const location = { kind: 'postgresql', url: new Secret(url), schema } as const;
    for (const name of ['first', 'second']) {
      const server = await startTestServer({ location, rootKeys: keys.ENCRYPTION_KEYS });
      try {
        const { client } = await server.newOrganisation();
        const { createOktaConnection: created } = await client.request<Created>(createMutation, {
          input: { name, credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'a-good-token' } },
        });
        const { id } = created.appConnection;
        expect(await client.request(byIdQuery, { id })).toEqual({ appConnection: created.appConnection });
      } finally {
        // Otherwise it would connect again and again to a cluster that is gone, during later files of the worker.
        await server.close();
      }
    }
  }

  test.each([
    [
      'a socket in host',
      () => `postgresql://postgres:${encoded}@/app?host=${cluster.socketFolder}&port=${cluster.port}`,
    ],
    [
      'a socket in the place of the host',
      () =>
        `postgresql://postgres:${encoded}@${encodeURIComponent(cluster.socketFolder)}:${cluster.port}/app`,
    ],
    [
      'sslmode for a socket, where it has no meaning',
      () =>
        `postgresql://postgres:${encoded}@/app?host=${cluster.socketFolder}&port=${cluster.port}&sslmode=require`,
    ],
    [
      'database, user and password in the query',
      () => `postgresql://127.0.0.1:${cluster.port}?dbname=app&user=postgres&password=${encoded}`,
    ],
    ['options', () => `${cluster.url('app')}?options=-c%20work_mem%3D8MB`],
    ['options with a plus sign for the space', () => `${cluster.url('app')}?options=-c+work_mem=8MB`],
    [
      'hostaddr and the name in the certificate',
      () =>
        `postgresql://postgres:${encoded}@localhost:${cluster.port}/app?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert=${authority}`,
    ],
    [
      'verify-full and an IP address',
      () => `${cluster.url('app')}?sslmode=verify-full&sslrootcert=${authority}`,
    ],
    ['require and sslrootcert', () => `${cluster.url('app')}?sslmode=require&sslrootcert=${authority}`],
  ])('accepts %s', async (_, url) => {
    await tryStart({ ...keys, DATABASE_URL: url() });
  });

  test('names the first of several hosts that accepts connections and is no standby', async () => {
    await using standby = await startPostgresCluster({ isStandby: true });
    const hosts = `127.0.0.1:${await closedPort()},127.0.0.1:${standby.port},127.0.0.1:${cluster.port}`;
    const url = `postgresql://postgres:${encoded}@${hosts}/app?target_session_attrs=read-write`;
    await tryStart({ ...keys, DATABASE_URL: url });
    expect(await errorOfStart({ ...keys, DATABASE_URL: standby.url('postgres') })).toBe(
      'Cannot start: DATABASE_URL: it is a read-only standby; connect to the primary\n',
    );
  });

  test('takes the parts that it lacks from the PG variables', async () => {
    const variables = {
      PGHOST: '127.0.0.1',
      PGPORT: `${cluster.port}`,
      PGUSER: 'postgres',
      PGPASSWORD: clusterPassword,
      PGDATABASE: 'app',
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: authority,
    };
    for (const url of ['postgresql://', 'postgresql:///', 'postgres:///app', 'postgresql://127.0.0.1'])
      await tryStart({ ...keys, ...variables, DATABASE_URL: url });
    const { PGSSLROOTCERT: _, ...withoutAuthority } = variables;
    expect(await errorOfStart({ ...keys, ...withoutAuthority, DATABASE_URL: 'postgresql://' })).toMatch(
      /the certificate authority is unknown; set sslrootcert in the URL/,
    );
  });

  test('takes precedence over PG variables', async () => {
    const wrong = { PGHOST: 'nowhere.example', PGPORT: '1', PGUSER: 'x', PGPASSWORD: 'x', PGDATABASE: 'x' };
    await tryStart({ ...keys, ...wrong, DATABASE_URL: cluster.url('app') });
  });

  test('accepts passwords with ? # and % as they are', async () => {
    await cluster.sql('postgres', `create role "odd" login superuser password 'a?b#c%d@e'`);
    await tryStart({
      ...keys,
      DATABASE_URL: `postgresql://odd:a?b#c%d@e@127.0.0.1:${cluster.port}/app`,
    });
  });

  test.each([
    ['options', async (name: string) => ({ url: `${cluster.url(name)}?options=-c%20search_path%3Dapp` })],
    ['search_path', async (name: string) => ({ url: `${cluster.url(name)}?search_path=app` })],
    ['DATABASE_SCHEMA', async (name: string) => ({ url: cluster.url(name), schema: 'app' })],
    [
      'the search path of the database',
      async (name: string) => {
        await cluster.sql(name, `alter database ${name} set search_path = app`);
        return { url: cluster.url(name) };
      },
    ],
  ])('leads to the schema of %s', async (_, configure) => {
    const name = `schema_${crypto.randomUUID().replaceAll('-', '')}`;
    await cluster.sql('postgres', `create database ${name}`);
    await cluster.sql(name, 'create schema app');
    const { url, schema } = { schema: undefined, ...(await configure(name)) };
    await useTwice(url, schema);
    await cluster.sql(name, 'select from app.app_connection', 'drop schema app cascade');
    // Nothing is left elsewhere.
    await expect(cluster.sql(name, 'select from public.mikro_orm_migrations')).rejects.toThrow();
  });

  test('leads to one schema if a schema is named like the user', async () => {
    await cluster.sql('postgres', 'create database own');
    await cluster.sql('own', 'create schema postgres');
    await useTwice(cluster.url('own'));
    await cluster.sql('own', 'drop schema postgres cascade');
    await useTwice(cluster.url('own'));
    // A schema that comes later does not hide the tables.
    await cluster.sql('own', 'create schema postgres');
    await useTwice(cluster.url('own'));
    await expect(cluster.sql('own', 'select from postgres.app_connection')).rejects.toThrow();
  });

  test.each([
    ["datestyle = 'German, DMY'"],
    ["datestyle = 'SQL, MDY'"],
    ["intervalstyle = 'iso_8601'"],
    ["timezone = 'Asia/Kolkata'"],
    ['standard_conforming_strings = off'],
  ])('leads to a database with %s, and dates are the same', async (setting) => {
    const name = `format_${crypto.randomUUID().replaceAll('-', '')}`;
    await cluster.sql('postgres', `create database ${name}`, `alter database ${name} set ${setting}`);
    await useTwice(cluster.url(name));
  });

  test.runIf(existsSync('/usr/sbin/pgbouncer'))(
    'leads through PgBouncer in session mode with its default configuration',
    async () => {
      await cluster.sql('postgres', 'create database pooled');
      await using resources = new AsyncDisposableStack();
      const port = await startSessionPooler(resources, cluster);
      const url = `postgresql://postgres:${encoded}@127.0.0.1:${port}/pooled`;
      await useTwice(url);
      expect(await errorOfStart({ ...keys, DATABASE_URL: `${url}?options=-c%20work_mem%3D8MB` })).toMatch(
        /DATABASE_URL: a pooler refused the user or a parameter; .* remove options from the URL/,
      );
      // In transaction mode, PgBouncer would lose the search path of a session.
      expect(await errorOfStart({ ...keys, DATABASE_URL: url, DATABASE_SCHEMA: 'public' })).toMatch(
        /DATABASE_URL: behind a pooler, the search path must be a setting of the user/,
      );
    },
  );

  describe('is reported in one line if', () => {
    test.each([
      [
        'the certificate is for another name',
        '?sslmode=verify-full&sslrootcert=AUTHORITY&hostaddr=127.0.0.1&host=other.example',
        /: the certificate is for another host name/,
      ],
      [
        'the authority is private',
        '?sslmode=require',
        /: the certificate authority is unknown; set sslrootcert in the URL to the file/,
      ],
      [
        'sslrootcert does not exist',
        '?sslmode=require&sslrootcert=/nonexistent',
        /: sslrootcert cannot be read \(ENOENT\)/,
      ],
      [
        'sslrootcert is no certificate',
        '?sslmode=require&sslrootcert=/etc/hostname',
        /: sslrootcert is not a PEM file/,
      ],
      ['sslmode is unknown', '?sslmode=on', / must have an sslmode out of disable, allow, prefer/],
      [
        'it asks for a standby',
        '?target_session_attrs=standby',
        / must have target_session_attrs=read-write, or none/,
      ],
      [
        'it names a schema as for Prisma',
        '?schema=app',
        / must not have schema; set DATABASE_SCHEMA instead/,
      ],
      ['it names a service', '?service=app', / must not have service; write its host/],
      [
        'no schema of its search path exists',
        '?search_path=nowhere',
        /: no schema of the search path exists/,
      ],
    ])('%s', async (_, query, words) => {
      const url = cluster.url('app') + query.replace('AUTHORITY', authority);
      const line = await errorOfStart({ ...keys, DATABASE_URL: url });
      expect(line).toMatch(/^Cannot start: DATABASE_URL/);
      expect(line).toMatch(words);
      expect(line).not.toContain(clusterPassword);
      expect(line).not.toContain(encoded);
    });

    test('DATABASE_SCHEMA does not exist', async () => {
      const settings = { ...keys, DATABASE_URL: cluster.url('app'), DATABASE_SCHEMA: 'nowhere' };
      expect(await errorOfStart(settings)).toMatch(/DATABASE_SCHEMA: this schema does not exist/);
    });

    test.each(['LATIN1', 'SQL_ASCII'])('the encoding of the database is %s', async (encoding) => {
      const name = `encoded_${encoding.toLowerCase()}`;
      await cluster.sql(
        'postgres',
        `create database ${name} encoding '${encoding}' locale 'C' template template0`,
      );
      expect(await errorOfStart({ ...keys, DATABASE_URL: cluster.url(name) })).toMatch(
        new RegExp(`DATABASE_URL: the database has the encoding ${encoding}`),
      );
    });

    test('the user has too few connections', async () => {
      await cluster.sql(
        'postgres',
        'create database few',
        `create role few login password '${clusterPassword}' createrole`,
        'alter database few owner to few',
      );
      await cluster.sql('postgres', 'grant app_connections_tenant, app_connections_system to few');
      // Each number of connections runs out at another moment of the start.
      for (const limit of [0, 1, 2]) {
        await cluster.sql('postgres', `alter role few connection limit ${limit}`);
        const settings = { ...keys, DATABASE_URL: cluster.url('few', 'few') };
        expect(await errorOfStart(settings)).toMatch(/it has no free connection; lower DATABASE_POOL_SIZE/);
      }
    });

    test('it leads to a dump that was restored without the roles', async () => {
      await using other = await startPostgresCluster();
      await other.restore('postgres', await cluster.dump('app'));
      const settings = { ...keys, DATABASE_URL: other.url('postgres') };
      const restored = /it was restored without the roles app_connections_tenant and app_connections_system/;
      expect(await errorOfStart(settings)).toMatch(restored);
      // Creating them afterwards brings no policies back.
      await other.sql('postgres', 'create role app_connections_tenant', 'create role app_connections_system');
      expect(await errorOfStart(settings)).toMatch(restored);
    });

    test('its user is not a member of the roles', async () => {
      await cluster.sql('postgres', `create role stranger login password '${clusterPassword}'`);
      await cluster.sql('app', 'grant all on mikro_orm_migrations to stranger');
      expect(await errorOfStart({ ...keys, DATABASE_URL: cluster.url('app', 'stranger') })).toMatch(
        /this user is not a member of app_connections_tenant and app_connections_system/,
      );
    });
  });
});

describe('DATABASE_URL is reported in one line, without starting anything, if', () => {
  test.each([
    [
      'a password has a slash',
      'postgresql://user:hunter2/x@127.0.0.1/x',
      /must be a URL such as .* in user and password, write @/,
    ],
    [
      'a password is digits and a slash',
      'postgresql://user:12/hunter2@127.0.0.1/x',
      /must be a URL such as .* in user and password, write @/,
    ],
    ['a host has several colons', 'postgresql://::1/x', /must be a URL such as/],
    [
      'there are more ports than hosts',
      'postgresql:///x?host=a&port=1,2',
      /must have as many ports and addresses as hosts/,
    ],
    ['one of several ports is no port', 'postgresql://a:1,b:x/x', /must have a port from 1 to 65535/],
  ])('%s', async (_, url, words) => {
    const line = await errorOfStart({ DATA_DIR: folder.path, DATABASE_URL: url });
    expect(line).toMatch(/^Cannot start: DATABASE_URL must/);
    expect(line).toMatch(words);
    expect(line).not.toContain('hunter2');
  });
});

test('production without DATABASE_URL names the URL that uses the PG variables', async () => {
  const settings = { NODE_ENV: 'production', ENCRYPTION_KEYS: rootKey('k1'), PGHOST: '127.0.0.1' };
  expect(await errorOfStart(settings)).toBe(
    'Cannot start: NODE_ENV=production needs DATABASE_URL (postgresql:/// uses PGHOST and the other PG variables)\n',
  );
});
