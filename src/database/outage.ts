import { errorField } from '../common/error-field.ts';
import { AppError } from '../common/errors.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { outdatedStatementCode } from './driver/prepared-statements.ts';
import { readOnlyCode } from './driver/primary-client.ts';

/** PostgreSQL's `disk_full`. */
export const diskFullCode = '53100';

/** PostgreSQL's `too_many_connections`. */
export const tooManyConnectionsCode = '53300';

/** PostgreSQL's `lock_not_available`. */
const lockTimeoutCode = '55P03';

/**
 * Codes of a database that is unavailable: time-outs of statements and locks, full disk or memory, a standby, a table that has just
 * changed, and network errors.
 */
const unavailableCodes = new Set([
  '57014',
  lockTimeoutCode,
  diskFullCode,
  '53200',
  readOnlyCode,
  outdatedStatementCode,
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** Messages of the driver for errors without a code: no connection became free, or one was lost. */
const unavailableMessages =
  /^(timeout e(xceeded when trying to connect|xpired)|Connection terminated|Client (has encountered|was closed)|Query read timeout)/;

/** Whether a statement failed because another transaction holds a lock that it needs. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && errorField(error, 'code') === lockTimeoutCode;
}

/** Whether an error means that the database does not respond, does not respond in time, or has no space. */
export function isDatabaseUnavailable(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof AppError) return false;
  // After an error with severity FATAL, PostgreSQL closes the connection: it stops, starts, or refuses connections.
  return (
    unavailableCodes.has(errorField(error, 'code') ?? '') ||
    errorField(error, 'severity') === 'FATAL' ||
    unavailableMessages.test(error.message)
  );
}

/** Converts and logs an error of an unavailable database; undefined for other errors. */
export function toServiceUnavailable(error: unknown, log: Logger): AppError | undefined {
  if (!isDatabaseUnavailable(error)) return undefined;
  if (errorField(error, 'code') === diskFullCode) {
    log.error({ error: safeErrorFields(error) }, 'the disk of the database is full; changes fail');
    return new AppError('SERVICE_UNAVAILABLE', 'The disk of the database is full. Nothing was changed.', {
      remedy: 'Contact the operator of the server. Reads still work.',
    });
  }
  log.warn({ error: safeErrorFields(error) }, 'the database is unavailable or did not respond in time');
  return new AppError('SERVICE_UNAVAILABLE', 'The database is unavailable or did not respond in time.', {
    remedy: 'Retry later. A change with an idempotency key is not applied twice.',
  });
}
