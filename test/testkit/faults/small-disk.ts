import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../process.ts';
import { rootKey } from '../root-key.ts';
import type { Violations } from './check.ts';
import { lookInto } from './invariants.ts';
import { LoadGenerator, type MutationResponse, sendMutation, tryToCreate } from './load.ts';
import { LogEntry, OperationLog } from './operation-log.ts';
import { ServerProcesses } from './processes.ts';

/** A disk of its own that is soon full. */
export interface SmallDisk extends Disposable {
  path: string;
  /** Leaves no more than this many bytes. */
  fill(leaveBytes: number): void;
  empty(): void;
}

/** Whether a file system may be mounted here. */
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

/** What was seen of a server with an embedded database whose disk is full. */
export interface DiskFull {
  /** To whoever wanted to change something, and to whoever wanted to read. */
  change: MutationResponse | undefined;
  read: MutationResponse | undefined;
  /** What a server says that is to start on it. */
  lastWords: string;
  /** Of a change once there was room again, and nothing was restarted. */
  afterwards: MutationResponse | undefined;
  /** Once it was all over. */
  findings: Violations;
}

/** Fills the disk under a server that is at work, kills it, and gives the room back. */
export async function fillDisk(): Promise<DiskFull> {
  using disk = smallDisk(256 * 2 ** 20);
  const keys = rootKey('first');
  await using fleet = new ServerProcesses({ DATA_DIR: join(disk.path, 'data'), ENCRYPTION_KEYS: keys });
  const journal = new OperationLog();
  const make = () => {
    const entry = new LogEntry(`disk-${randomUUID()}`);
    journal.entries.push(entry);
    return tryToCreate(fleet.urls()[0] ?? '', fleet.apiKey, entry);
  };
  await fleet.start(1);
  const load = new LoadGenerator(journal, fleet.apiKey, () => fleet.urls());
  load.start(4);
  await make();
  disk.fill(20 * 2 ** 20);
  const change = await make();
  const read = await sendMutation(fleet.urls()[0] ?? '', fleet.apiKey, '{ appConnections { totalCount } }');
  disk.empty();
  const afterwards = await make();
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
