import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '../../src/common/secret.ts';
import type { PostgresqlLocation } from '../../src/database/location.ts';
import { emptyDatabase, freshDatabase } from './database.ts';
import { closedPort, isListening, temporaryFolder, until } from './process.ts';

const executable = '/usr/sbin/pgbouncer';

/** The user `nobody`, because PgBouncer refuses to run as root. */
const nobody = 65_534;

/** Whether PgBouncer is installed; prints a note when it is not. */
export function hasPgBouncer(): boolean {
  if (existsSync(executable)) return true;
  console.warn(`Skipped: there is no ${executable}; "apt-get install pgbouncer" brings it.`);
  return false;
}

/** A database behind PgBouncer in transaction mode. */
export interface PooledDatabase extends AsyncDisposable {
  /** `url` leads through PgBouncer, and `directUrl` to PostgreSQL. */
  location: PostgresqlLocation & { directUrl: Secret };
}

/**
 * Creates a database, and starts Debian's PgBouncer in transaction mode in front of it. Everything else keeps PgBouncer's
 * defaults.
 *
 * @param options `poolSize` is the number of its connections to PostgreSQL
 */
export async function startPooledDatabase({
  poolSize,
  isMigrated = true,
}: {
  poolSize: number;
  isMigrated?: boolean;
}): Promise<PooledDatabase> {
  await using stack = new AsyncDisposableStack();
  const database = stack.use(await (isMigrated ? freshDatabase() : emptyDatabase()));
  if (database.location.kind !== 'postgresql') throw new Error('PgBouncer needs a PostgreSQL.');
  const directUrl = database.location.directUrl ?? database.location.url;
  const port = await startPgBouncer(stack, new URL(directUrl.reveal()), poolSize);
  const pooled = new URL(directUrl.reveal());
  pooled.hostname = '127.0.0.1';
  pooled.port = String(port);
  const owned = stack.move();
  return {
    location: { kind: 'postgresql', url: new Secret(pooled.href), directUrl },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Starts PgBouncer in transaction mode in front of the server of a URL, for its user, and returns the port. */
export async function startPgBouncer(
  stack: AsyncDisposableStack,
  server: URL,
  poolSize: number,
): Promise<number> {
  const { path } = stack.use(temporaryFolder());
  const port = await closedPort();
  const [configuration, users] = [join(path, 'pgbouncer.ini'), join(path, 'users.txt')];
  writeFileSync(users, `"${server.username}" ""\n`);
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'trust',
    auth_file: users,
    pool_mode: 'transaction',
    default_pool_size: poolSize,
  };
  writeFileSync(
    configuration,
    [
      '[databases]',
      `* = host=${server.hostname} port=${server.port || 5432}`,
      '[pgbouncer]',
      ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
    ].join('\n'),
  );
  const isRoot = process.getuid?.() === 0;
  if (isRoot) for (const file of [path, configuration, users]) chownSync(file, nobody, nobody);
  const pgbouncer = spawn(executable, ['--quiet', configuration], {
    stdio: 'ignore',
    ...(isRoot && { uid: nobody, gid: nobody }),
  });
  const exited = once(pgbouncer, 'exit');
  stack.defer(async () => {
    pgbouncer.kill('SIGKILL');
    await exited;
  });
  await until('PgBouncer listens', async () => (await isListening(port)) || undefined);
  return port;
}
