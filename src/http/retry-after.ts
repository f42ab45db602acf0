import { currentTimeMs } from '../common/clock.ts';

/** Formats a `Retry-After` header: whole seconds, at least 1. */
export function retryAfterSeconds(time: Date): string {
  return String(Math.max(1, Math.ceil((time.getTime() - currentTimeMs()) / 1_000)));
}
