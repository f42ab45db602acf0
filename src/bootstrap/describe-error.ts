import { fileURLToPath } from 'node:url';
import { commandLine, isRelease } from '../common/command-name.ts';
import { errorField } from '../common/error-field.ts';
import { AppError, StartupError } from '../common/errors.ts';
import { describeConnectionFailure } from '../database/open-failure.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import { KmsUnavailableError } from '../encryption/root-key.ts';
import { MacMismatch } from '../encryption/row-macs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Describes a fatal error in one line for the operator, without stack and without messages of libraries, which may repeat
 * values.
 */
export function describeStartupError(error: unknown): string {
  if (error instanceof StartupError) return error.message;
  if (error instanceof KmsUnavailableError) return error.reason;
  if (error instanceof MacMismatch)
    return `${error.message} "${commandLine('audit verify')}" names it; restore it from a backup.`;
  if (error instanceof AppError) return [error.message, error.remedy].filter(Boolean).join(' ');
  if (isDatabaseUnavailable(error))
    return `the database became unavailable: ${describeConnectionFailure(error, 'postgresql')}`;
  const missing = findMissingModule(error);
  if (missing)
    return `${missing} is not installed; ${isRelease ? 'install the package again' : 'run "npm install"'}`;
  const name = errorField(error, 'name') ?? typeof error;
  const code = errorField(error, 'code');
  const what = code === undefined ? name : `${name} (${code})`;
  const place = findOwnFrame(error);
  return `unexpected ${what}${place ? ` in ${place}` : ''}; this is a bug in the server, please report it`;
}

function findMissingModule(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (errorField(cause, 'code') !== 'ERR_MODULE_NOT_FOUND') continue;
    const [, name] = /^Cannot find (?:package|module) '([^']+)'/.exec(cause.message) ?? [];
    return name?.replace(root, './');
  }
  return undefined;
}

/** Finds the innermost file and line of this project. */
function findOwnFrame(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const [, place] = /\/((?:src|dist\/server)\/[\w./-]+:\d+):\d+\)?$/m.exec(error.stack ?? '') ?? [];
  return place;
}
