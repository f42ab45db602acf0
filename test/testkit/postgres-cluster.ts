import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, globSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { KeyPair } from './certificates.ts';
import { closedPort, isListening, temporaryFolder, until } from './process.ts';

const run = promisify(execFile);

const [initdb] = globSync('/usr/lib/postgresql/{15,16,17,18}/bin/initdb');

/** The user `nobody`, because PostgreSQL and PgBouncer refuse to run as root. */
const nobody = 65_534;
const asNobody = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};

/** Whether the programs of a PostgreSQL server are installed; prints a note when they are not. */
export function hasPostgresPrograms(): boolean {
  if (initdb) return true;
  console.warn('Skipped: there is no initdb; "apt-get install postgresql" brings it.');
  return false;
}

/** A PostgreSQL server of its own, whose user `postgres` has the password `p@ss:w/rd`. */
export interface PostgresCluster extends AsyncDisposable {
  port: number;
  /** The folder of the Unix socket. */
  socketFolder: string;
  /** The URL of a database, for a user with the password of `postgres`. */
  url(database: string, user?: string): string;
  /** Runs statements of SQL, one after the other. */
  sql(database: string, ...statements: string[]): Promise<void>;
  /** Returns a dump of a database as SQL. */
  dump(database: string): Promise<string>;
  /** Runs a script of SQL in which statements may fail. */
  restore(database: string, script: string): Promise<void>;
}

/** The password of every user of a cluster. */
export const clusterPassword = 'p@ss:w/rd';

/**
 * Creates and starts a PostgreSQL server.
 *
 * @param options `tls` is its certificate; with `isStandby`, it is a hot standby, without a primary
 */
export async function startPostgresCluster({
  tls,
  isStandby = false,
}: {
  tls?: KeyPair;
  isStandby?: boolean;
} = {}): Promise<PostgresCluster> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(temporaryFolder());
  const data = join(folder, 'data');
  const port = await closedPort();
  const bin = dirname(initdb ?? '');
  writeFileSync(join(folder, 'password'), clusterPassword);
  give(folder);
  const options = ['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-sync'];
  await run(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'postgres', `--pwfile=${folder}/password`, ...options],
    asNobody,
  );
  const settings = [
    `port = ${port}`,
    `listen_addresses = '127.0.0.1'`,
    `unix_socket_directories = '${folder}'`,
    'fsync = off',
  ];
  if (tls) {
    writeFileSync(join(data, 'server.crt'), tls.cert);
    writeFileSync(join(data, 'server.key'), tls.key, { mode: 0o600 });
    settings.push('ssl = on');
  }
  if (isStandby) writeFileSync(join(data, 'standby.signal'), '');
  writeFileSync(join(data, 'postgresql.conf'), settings.join('\n'));
  give(data);
  const server = spawn(join(bin, 'postgres'), ['-D', data], { stdio: 'ignore', ...asNobody });
  const exited = once(server, 'exit');
  stack.defer(async () => {
    server.kill('SIGINT');
    await exited;
  });
  const client = ['-h', folder, '-p', `${port}`, '-U', 'postgres', '-d'];
  const env = { PGPASSWORD: clusterPassword };
  const psql = (database: string, ...commands: string[]) =>
    run(join(bin, 'psql'), [...client, database, '-q', ...commands], { env });
  await until('PostgreSQL accepts connections', () =>
    psql('postgres', '-c', 'select').then(
      () => true,
      () => undefined,
    ),
  );
  const owned = stack.move();
  return {
    port,
    socketFolder: folder,
    url: (database, user = 'postgres') =>
      `postgresql://${user}:${encodeURIComponent(clusterPassword)}@127.0.0.1:${port}/${database}`,
    sql: async (database, ...statements) => {
      await psql(database, '-v', 'ON_ERROR_STOP=1', ...statements.flatMap((sql) => ['-c', sql]));
    },
    dump: async (database) => (await run(join(bin, 'pg_dump'), [...client, database], { env })).stdout,
    restore: async (database, script) => {
      const file = join(folder, 'restored.sql');
      writeFileSync(file, script);
      await psql(database, '-f', file);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Starts Debian's PgBouncer, in session mode, which is its default, and returns its port. */
export async function startSessionPooler(
  stack: AsyncDisposableStack,
  cluster: PostgresCluster,
): Promise<number> {
  const { path } = stack.use(temporaryFolder());
  const port = await closedPort();
  const [configuration, users] = [join(path, 'pgbouncer.ini'), join(path, 'users.txt')];
  writeFileSync(users, `"postgres" "${clusterPassword}"\n`);
  const lines = [
    '[databases]',
    `* = host=127.0.0.1 port=${cluster.port}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = plain',
    `auth_file = ${users}`,
  ];
  writeFileSync(configuration, lines.join('\n'));
  give(path);
  const pooler = spawn('/usr/sbin/pgbouncer', ['--quiet', configuration], { stdio: 'ignore', ...asNobody });
  const exited = once(pooler, 'exit');
  stack.defer(async () => {
    pooler.kill('SIGKILL');
    await exited;
  });
  await until('PgBouncer listens', async () => (await isListening(port)) || undefined);
  return port;
}

/** Gives a folder and its files to the user of the server. */
function give(folder: string): void {
  if (asNobody.uid === undefined) return;
  for (const name of ['', ...readdirSync(folder)]) chownSync(join(folder, name), nobody, nobody);
  chmodSync(folder, 0o700);
}
