import { open, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Flushes the entry of a file in its folder to disk: without it, a loss of power takes a whole file that is new (fsync(2)). */
export async function fsyncParentFolder(path: string): Promise<void> {
  try {
    await using folder = await open(dirname(await realpath(path)), 'r');
    await folder.sync();
  } catch {
    // Windows opens no folders, and some file systems flush none.
  }
}
