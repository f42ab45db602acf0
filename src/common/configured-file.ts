import { readFileSync } from 'node:fs';
import { StartupError } from './errors.ts';

/**
 * Reads a file that the operator has configured.
 *
 * @param setting the variable or flag that names the file, for the message
 * @throws StartupError if the file cannot be read
 */
export function readConfiguredFile(setting: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartupError(`${setting} ${file}: cannot be read (${code ?? 'unknown error'})`);
  }
}
