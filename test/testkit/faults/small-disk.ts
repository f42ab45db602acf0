import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { copyEmbeddedTemplate } from '../database.ts';
import { temporaryFolder } from '../process.ts';
import { rootKey } from '../root-key.ts';
import type { Violations } from './check.ts';
import { lookInto } from './invariants.ts';
import { LoadGenerator, type MutationResponse, sendMutation, tryToCreate } from './load.ts';
import { LogEntry, OperationLog } from './operation-log.ts';
import { ServerProcesses } from './processes.ts';

/** A small file system that a test can fill. */
export interface SmallDisk extends Disposable {
  path: string;
  /** Fills the disk up to this many free bytes. */
  fill(leaveBytes: number): void;
  empty(): void;
}

/** Whether this process may mount a file system. */
export const canMount = (() => {
  try {
    smallDisk(2 ** 20)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
})();

export function smallDisk(bytes: number, { inodes = 0 } = {}): SmallDisk {
  const folder = temporaryFolder();
  const options = `size=${bytes},nr_inodes=${inodes}`;
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder.path], { stdio: 'ignore' });
  const filler = join(folder.path, 'filler');
  return {
    path: folder.path,
    fill(leaveBytes) {
      rmSync(filler, { force: true });
      const { bavail, bsize } = statfsSync(folder.path);
      writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - leaveBytes)));
    },
    empty: () => rmSync(filler),
    [Symbol.dispose]() {
      execFileSync('umount', ['--lazy', folder.path]);
      folder[Symbol.dispose]();
    },
  };
}

/** The behaviour of a server with an embedded database on a full disk. */
export interface DiskFull {
  /** Responses to changes and to reads. */
  change: MutationResponse | undefined;
  read: MutationResponse | undefined;
  /** The output of a server that starts on the full disk. */
  lastWords: string;
  /** The response to a change once there is space again, without a restart. */
  afterwards: MutationResponse | undefined;
  /** The state afterwards. */
  findings: Violations;
}

/** Fills the disk of a busy server, kills the server, and frees the space. */
export async function fillDisk(): Promise<DiskFull> {
  using disk = smallDisk(256 * 2 ** 20);
  const keys = rootKey('first');
  copyEmbeddedTemplate(join(disk.path, 'data'));
  await using fleet = new ServerProcesses({ DATA_DIR: join(disk.path, 'data'), ENCRYPTION_KEYS: keys });
  const journal = new OperationLog();
  const createConnection = () => {
    const entry = new LogEntry(`disk-${randomUUID()}`);
    journal.entries.push(entry);
    return tryToCreate(fleet.urls()[0] ?? '', fleet.apiKey, entry);
  };
  await fleet.start(1);
  const load = new LoadGenerator(journal, fleet.apiKey, () => fleet.urls());
  load.start(4);
  await createConnection();
  disk.fill(20 * 2 ** 20);
  const change = await createConnection();
  const read = await sendMutation(fleet.urls()[0] ?? '', fleet.apiKey, '{ appConnections { totalCount } }');
  disk.empty();
  const afterwards = await createConnection();
  disk.fill(20 * 2 ** 20);
  await fleet.kill(1);
  disk.fill(0);
  const lastWords = await fleet.start(1).then(
    () => 'it started',
    (error: unknown) => String(error),
  );
  disk.empty();
  await fleet.start(1);
  await load.stop();
  await fleet.stop();
  const location = { kind: 'embedded', folder: join(disk.path, 'data', 'database') } as const;
  return { change, read, lastWords, afterwards, findings: await lookInto(journal, location, keys) };
}
