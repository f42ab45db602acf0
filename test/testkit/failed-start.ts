import { expect } from 'vitest';
import { describeStartupError } from '../../src/bootstrap/describe-error.ts';
import { openStores } from '../../src/bootstrap/stores.ts';
import { createLog } from '../../src/common/log.ts';
import { readConfig } from '../../src/config/read-config.ts';

/**
 * Reads the configuration and opens the database in this process, as a server does first, and returns the line that
 * `main.ts` prints when that fails. It takes milliseconds, where `stderrOfFailedStart`, which starts a process, takes a
 * second. Not for starts that reach the embedded database, because they set V8's flags for the whole process.
 */
export async function errorOfStart(environment: Readonly<Record<string, string>>): Promise<string> {
  const line = await tryStart(environment).then(
    () => 'The start succeeded.',
    (error: unknown) => `Cannot start: ${describeStartupError(error)}\n`,
  );
  expect(line).toMatch(/^Cannot start: [^\n]+\n$/);
  expect(line).not.toMatch(/(^|\s)at (\S+ \()?(file|node|async)/);
  return line;
}

/** Reads the configuration and opens and closes the database in this process; throws if a server could not start with it. */
export async function tryStart(environment: Readonly<Record<string, string>>): Promise<void> {
  const stores = await openStores(readConfig(environment), createLog('silent'));
  await stores.close();
}
