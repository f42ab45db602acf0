import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { fsyncParentFolder } from '../common/fsync-parent-folder.ts';

/** The file of a stream cannot be written. The message is a clause for operators. */
export class StreamFileError extends Error {
  override readonly name = 'StreamFileError';
}

const { O_RDWR, O_APPEND, O_CREAT, O_NONBLOCK = 0 } = constants;

/** How often lines are written if the file is renamed or removed each time. */
const maxAttempts = 10;

/**
 * Appends lines to a file, and flushes them to disk. The file is opened anew each time, so it may be renamed or removed at any time, as
 * logrotate does. If that happens meanwhile, the lines are written to the new file too, because what reads the old one may miss them.
 * If another line was cut short, by a crash or a full disk, the lines begin after a line break.
 *
 * @throws StreamFileError if not all of them were written
 */
export async function appendToFile(path: string, lines: readonly string[]): Promise<void> {
  const text = lines.map((line) => `${line}\n`).join('');
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    if (await appendText(path, text)) return;
  }
  throw new StreamFileError('the file is renamed or removed while it is written');
}

/**
 * Opens a file as `appendToFile` does, and creates it if there is none.
 *
 * @throws StreamFileError if it cannot be written
 */
export function checkFile(path: string): Promise<void> {
  return withFile(path, async () => {});
}

/** Returns whether the file still had its name when the text was on the disk. */
function appendText(path: string, text: string): Promise<boolean> {
  return withFile(path, async (file, { size, dev, ino }) => {
    const before = (await isCut(file, Number(size))) ? '\n' : '';
    await file.writeFile(before + text);
    await file.datasync();
    if (size === 0n) await fsyncParentFolder(path);
    const now = await stat(path, { bigint: true }).catch(() => undefined);
    return now?.dev === dev && now.ino === ino;
  });
}

async function withFile<Result>(
  path: string,
  task: (file: FileHandle, stats: BigIntStats) => Promise<Result>,
): Promise<Result> {
  try {
    // Without O_NONBLOCK, opening a pipe waits for its reader.
    await using file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
    const stats = await file.stat({ bigint: true });
    if (!stats.isFile()) throw new StreamFileError('it is a folder, a pipe or a device');
    return await task(file, stats);
  } catch (error) {
    if (error instanceof StreamFileError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new StreamFileError(`the file cannot be written (${code ?? 'unknown error'})`);
  }
}

/** Whether a file ends within a line. */
async function isCut(file: FileHandle, size: number): Promise<boolean> {
  if (size === 0) return false;
  const { buffer } = await file.read({ buffer: Buffer.alloc(1), position: size - 1 });
  return buffer.toString() !== '\n';
}
