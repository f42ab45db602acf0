import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** The file of a stream cannot be written. The message is a clause for operators. */
export class StreamFileError extends Error {
  override readonly name = 'StreamFileError';
}

const { O_RDWR, O_APPEND, O_CREAT, O_NONBLOCK = 0 } = constants;

/**
 * Appends lines to a file, and flushes them to disk. The file is opened anew each time, so it may be renamed or removed at any time,
 * as logrotate does. If another line was cut short, by a crash or a full disk, the lines begin after a line break.
 *
 * @throws StreamFileError if not all of them were written
 */
export async function appendToFile(path: string, lines: readonly string[]): Promise<void> {
  let file: FileHandle | undefined;
  try {
    // Without O_NONBLOCK, opening a pipe waits for its reader.
    file = await open(path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
    const stats = await file.stat();
    if (!stats.isFile()) throw new StreamFileError('it is a folder, a pipe or a device');
    const before = (await isCut(file, stats.size)) ? '\n' : '';
    await file.writeFile(`${before}${lines.map((line) => `${line}\n`).join('')}`);
    await file.datasync();
  } catch (error) {
    if (error instanceof StreamFileError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new StreamFileError(`the file cannot be written (${code ?? 'unknown error'})`);
  } finally {
    await file?.close();
  }
}

/** Whether a file ends within a line. */
async function isCut(file: FileHandle, size: number): Promise<boolean> {
  if (size === 0) return false;
  const { buffer } = await file.read({ buffer: Buffer.alloc(1), position: size - 1 });
  return buffer.toString() !== '\n';
}
