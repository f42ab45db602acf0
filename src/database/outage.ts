import { AppError } from '../common/errors.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';

/** What PostgreSQL says when there is no room on its disk. */
export const diskFullCode = '53100';

/** What PostgreSQL says when a lock was not free in time. */
const lockTimeoutCode = '55P03';

/**
 * A statement or a lock that took too long; no room on the disk or in memory; a standby, which writes nothing; and what
 * the operating system says when nobody is there.
 */
const codes = new Set([
  ...['57014', lockTimeoutCode, diskFullCode, '53200', '25006'],
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
]);

/** What the driver says without a code: no connection was free, or one was lost. */
const messages =
  /^(timeout exceeded when trying to connect|Connection terminated|Client (has encountered|was closed))/;

/** Whether a statement gave up because somebody else holds a lock that it needs. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === lockTimeoutCode;
}

/** Whether it is the database that does not answer, or not in time, or has no room. */
export function isDatabaseUnavailable(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof AppError) return false;
  // Whatever PostgreSQL says with FATAL, it hangs up: it is stopping, starting, full, or lets nobody in.
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  return codes.has(String(code)) || severity === 'FATAL' || messages.test(error.message);
}

/** What callers are told of an outage; undefined for every other error. It goes into the log too. */
export function toServiceUnavailable(error: unknown, log: Logger): AppError | undefined {
  if (!isDatabaseUnavailable(error)) return undefined;
  if ((error as { code?: unknown }).code === diskFullCode) {
    log.error({ error: safeErrorFields(error) }, 'the disk of the database is full; nothing can be changed');
    return new AppError('SERVICE_UNAVAILABLE', 'The disk of our database is full. Nothing was changed.', {
      remedy: 'Tell the operator; what is there can be read meanwhile.',
    });
  }
  log.warn({ error: safeErrorFields(error) }, 'the database does not answer in time');
  return new AppError('SERVICE_UNAVAILABLE', 'Our database does not answer, or not in time.', {
    remedy: 'Try again in a while; a change that has an idempotency key is not made twice.',
  });
}
