import { readDate } from '../../outbound/response-times.ts';
import type { VerificationWarning } from '../credentials.ts';

/** A smaller difference harms nothing. */
const toleranceSeconds = 30;
/** More than a hundred years is no clock. */
const maxSeconds = 100 * 366 * 24 * 60 * 60;

/**
 * Compares the `Date` of a response with the clock of this server.
 *
 * @param times when the request was sent and its response received, in milliseconds since the epoch
 * @returns by how many seconds Okta's clock is ahead, negative if it is behind; 0 if the time in between explains the
 *   difference; null without a date
 */
export function measureClockDifference(
  headers: Readonly<Record<string, string>>,
  { sentAt, receivedAt }: { sentAt: number; receivedAt: number },
): number | null {
  const date = readDate(headers);
  if (date === undefined) return null;
  // `Date` leaves out the milliseconds.
  const [earliest, latest] = [date, date + 999];
  const differenceMs = Math.max(0, earliest - receivedAt) + Math.min(0, latest - sentAt);
  const seconds = Math.round(differenceMs / 1_000);
  return Math.abs(seconds) > maxSeconds ? null : seconds;
}

/** Describes a difference of more than 30 seconds. */
export function describeClockDifference(seconds: number | null): VerificationWarning | undefined {
  if (seconds === null || Math.abs(seconds) <= toleranceSeconds) return undefined;
  const size = Math.abs(seconds);
  const direction = seconds > 0 ? 'behind' : 'ahead of';
  return {
    message: `The clock of this server is ${size} seconds ${direction} the clock of Okta.`,
    remedy:
      'The operator of this server has to synchronise its clock and that of its database, for example with NTP. Okta ' +
      'rejects signed requests from a clock that is wrong, and times that this server shows are wrong too.',
  };
}
