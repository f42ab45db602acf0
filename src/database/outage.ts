import { Problem } from '../errors.ts';
import { describeError, type Logger } from '../log.ts';

/** A statement or a lock that took too long, and what the operating system says when nobody is there. */
const codes = new Set([
  ...['57014', '55P03'],
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
]);

/** What the driver says without a code: no connection was free, or one was lost. */
const messages = /^(timeout exceeded when trying to connect|Connection terminated)/;

/**
 * What callers are told when it is the database that does not answer, or not in time; undefined for every other error.
 * It goes into the log too.
 */
export function outageOf(error: unknown, log: Logger): Problem | undefined {
  if (!(error instanceof Error) || error instanceof Problem) return undefined;
  // Whatever PostgreSQL says with FATAL, it hangs up: it is stopping, starting, full, or lets nobody in.
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  const isOutage = codes.has(String(code)) || severity === 'FATAL' || messages.test(error.message);
  if (!isOutage) return undefined;
  log.warn({ error: describeError(error) }, 'the database does not answer in time');
  return new Problem('SERVICE_UNAVAILABLE', 'Our database does not answer, or not in time.', {
    remedy: 'Try again in a while; a change that has an idempotency key is not made twice.',
  });
}
