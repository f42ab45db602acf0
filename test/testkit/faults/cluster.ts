import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chownSync,
  closeSync,
  globSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { closedPort, temporaryFolder, until } from '../process.ts';

/** A PostgreSQL cluster that a test can kill and freeze. */
export interface Cluster extends AsyncDisposable {
  /** The URL of its database `postgres`. */
  url: string;
  /** Kills all of its processes at the same time, like a power cut. */
  kill(): Promise<void>;
  /** Starts it and waits until it accepts connections, after its recovery. */
  start(): Promise<void>;
  /** Suspends all of its processes: connections stay open without responses. */
  freeze(): void;
  thaw(): void;
  /** Makes the primary of this standby accept changes. */
  promote(): void;
  /** Stops it after it has sent everything to its standbys, and starts it as a standby of another cluster. */
  follow(primary: Cluster): Promise<void>;
  /** Its log, with every error that a client has received. */
  log(): string;
}

const binaries = globSync('/usr/lib/postgresql/*/bin').toSorted(byVersion).at(-1);

/** Whether PostgreSQL is installed, which a cluster needs. */
export const canMakeCluster = binaries !== undefined;

/**
 * Creates an empty cluster and starts it.
 *
 * @param settings such as `synchronous_commit=off`
 */
export async function makeCluster(...settings: string[]): Promise<Cluster> {
  return startCluster(settings, (data) => [
    'initdb',
    ...['--pgdata', data, '--username', 'postgres', '--auth', 'trust', '--no-sync'],
  ]);
}

/** Creates a streaming standby of a cluster, whose name for synchronous replication is `standby`, and starts it. */
export async function makeStandby(primary: Cluster): Promise<Cluster> {
  return startCluster([], (data) => [
    'pg_basebackup',
    ...['--pgdata', data, '--dbname', standbyConnection(primary), '--checkpoint', 'fast', '--no-sync'],
    ...['--write-recovery-conf'],
  ]);
}

const standbyConnection = ({ url }: Cluster) => `${url}?application_name=standby`;

async function startCluster(
  settings: readonly string[],
  creation: (data: string) => readonly string[],
): Promise<Cluster> {
  if (binaries === undefined) throw new Error('PostgreSQL is not installed here');
  const folder = temporaryFolder();
  const owner = ownerOfProcesses();
  if (owner.uid !== undefined) chownSync(folder.path, owner.uid, owner.gid ?? owner.uid);
  const data = join(folder.path, 'data');
  const logFile = join(folder.path, 'log');
  const run = (name = '', ...args: string[]) =>
    execFileSync(join(binaries, name), args, { ...owner, cwd: folder.path, stdio: 'pipe' });
  run(...creation(data));
  const port = await closedPort();
  const given = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings];
  let main: ReturnType<typeof spawn> | undefined;

  /** The process ids of the postmaster and of all processes that it has started. */
  const processes = (): number[] => {
    if (main?.pid === undefined) return [];
    return [main.pid, ...listChildren(main.pid)];
  };
  const cluster: Cluster = {
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    async start() {
      const log = openSync(logFile, 'a');
      main = spawn(
        join(binaries, 'postgres'),
        ['-D', data, '-p', `${port}`, ...given.flatMap((setting) => ['-c', setting])],
        { ...owner, cwd: folder.path, stdio: ['ignore', 'ignore', log] },
      );
      closeSync(log);
      await until('PostgreSQL takes connections', () => {
        try {
          return run('pg_isready', '--host', '127.0.0.1', '--port', `${port}`);
        } catch {
          return undefined;
        }
      });
    },
    async kill() {
      if (!main || main.exitCode !== null || main.signalCode !== null) return;
      const ended = once(main, 'exit');
      // Suspended first, so that the postmaster starts no process meanwhile.
      main.kill('SIGSTOP');
      const all = processes();
      for (const pid of all) signal(pid, 'SIGKILL');
      await ended;
      await until('all of PostgreSQL is gone', () => (all.some(isThere) ? undefined : true));
    },
    freeze() {
      main?.kill('SIGSTOP');
      for (const pid of processes()) signal(pid, 'SIGSTOP');
    },
    thaw() {
      for (const pid of processes()) signal(pid, 'SIGCONT');
    },
    promote() {
      run('pg_ctl', 'promote', '--pgdata', data);
    },
    async follow(primary) {
      const ended = main && once(main, 'exit');
      main?.kill('SIGINT');
      await ended;
      writeFileSync(join(data, 'standby.signal'), '');
      appendFileSync(
        join(data, 'postgresql.auto.conf'),
        `\nprimary_conninfo = '${standbyConnection(primary)}'\n`,
      );
      await cluster.start();
    },
    log: () => readFileSync(logFile, 'utf8'),
    async [Symbol.asyncDispose]() {
      await cluster.kill();
      folder[Symbol.dispose]();
    },
  };
  await cluster.start();
  return cluster;
}

/** PostgreSQL refuses to run as root. */
function ownerOfProcesses(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const [, uid, gid] = /^postgres:[^:]*:(\d+):(\d+)/m.exec(readFileSync('/etc/passwd', 'utf8')) ?? [];
  return { uid: Number(uid), gid: Number(gid) };
}

function listChildren(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // The process has ended meanwhile.
  }
}

function isThere(pid: number): boolean {
  try {
    // A zombie process holds no resources.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function byVersion(a: string, b: string): number {
  const version = (path: string) => Number(/\/(\d+)\//.exec(path)?.[1]);
  return version(a) - version(b);
}
