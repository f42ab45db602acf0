import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { errorField } from './error-field.ts';
import { StartupError } from './errors.ts';

/** The most bytes of a file, and what to do about one that has more. */
interface FileLimit {
  maxBytes: number;
  remedy: string;
}

/** Secrets, keys and chains of certificates are far smaller. */
const limitOfValues: FileLimit = {
  maxBytes: 1024 * 1024,
  remedy: 'name the file with nothing but the value',
};

/** A file cannot be used. The message is the predicate of a sentence about it, and has no content of it. */
export class UnusableFile extends Error {
  override readonly name = 'UnusableFile';
}

/**
 * Reads a small file that the operator has configured.
 *
 * @param setting the variable that names the file, for the message
 * @throws StartupError if the file cannot be read, is not a regular file or is too large
 */
export function readConfiguredFile(setting: string, file: string): Buffer {
  try {
    return readSmallFile(file);
  } catch (error) {
    if (error instanceof UnusableFile) throw new StartupError(`${setting} ${file}: ${error.message}`);
    throw error;
  }
}

/**
 * Reads a regular file, or the one that a symbolic link leads to: the secrets of Kubernetes are links. Pipes and devices can
 * make a server wait or read without end.
 *
 * @throws UnusableFile if the file cannot be read, is not a regular file or is too large
 */
export function readSmallFile(file: string, { maxBytes, remedy } = limitOfValues): Buffer {
  let descriptor: number | undefined;
  try {
    // Without O_NONBLOCK, opening a pipe waits for its writer. Windows has no such flag.
    descriptor = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    if (!fstatSync(descriptor).isFile()) {
      throw new UnusableFile('is a folder, a pipe or a device; name a regular file');
    }
    // Not `readFileSync`: it reads to the end, whatever the size is, and that of files in /proc is 0.
    const bytes = Buffer.allocUnsafe(maxBytes + 1);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read) {
      read = readSync(descriptor, bytes, { offset: length });
    }
    if (length <= maxBytes) return Buffer.from(bytes.subarray(0, length));
    throw new UnusableFile(`has more than ${maxBytes} bytes; ${remedy}`);
  } catch (error) {
    if (error instanceof UnusableFile) throw error;
    const code = errorField(error, 'code');
    throw new UnusableFile(`cannot be read (${code ?? 'unknown error'})`);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}
