import { currentTimeMs } from '../../common/clock.ts';
import { maxDateTime, minDateTime, reversedSpanMessage } from '../../common/date-time.ts';
import { type Issue, validationError } from '../../common/errors.ts';

/** The lengths of the intervals that usage is counted by, in milliseconds. Days are those of UTC. */
const intervalMs = { HOUR: 3_600_000, DAY: 86_400_000 } as const;

/** The unit of the intervals that usage is counted by. */
export type UsageInterval = keyof typeof intervalMs;

/** How long usage is kept, in days. */
export const usageRetentionDays = 90;

/** The most intervals in a range: a week by the hour, or everything by the day. */
export const maxIntervals = 200;

/** The number of intervals in a range without a beginning: a day by the hour, or a month by the day. */
const defaultIntervals = { HOUR: 24, DAY: 30 } as const;

/** A range of whole intervals. */
export interface UsageRange {
  /** Inclusive. */
  from: Date;
  /** Exclusive. */
  to: Date;
  by: UsageInterval;
}

/** A range as a caller sends it. Absent or null: the last day by the hour, or the last month by the day. */
export interface UsageRangeInput {
  from?: Date | null | undefined;
  to?: Date | null | undefined;
  by: UsageInterval;
}

const beginsInFuture = 'The range must begin in the past.';
const beginsTooEarly = 'The range must begin in the year 1 or later.';
const endsTooLate = 'The range must end in the year 9999 or earlier.';

/**
 * Extends a range to whole intervals.
 *
 * @throws AppError `BAD_USER_INPUT` if it is empty or too long, or has other years than 1 to 9999
 */
export function toUsageRange({ from, to, by }: UsageRangeInput): UsageRange {
  const length = intervalMs[by];
  const end = Math.ceil((to?.getTime() ?? currentTimeMs()) / length) * length;
  const start = from ? Math.floor(from.getTime() / length) * length : end - defaultIntervals[by] * length;
  const issues: Issue[] = [];
  const reversed = reversedSpanMessage(from, to) ?? (start >= end ? beginsInFuture : undefined);
  if (reversed) issues.push({ path: ['from'], message: reversed });
  if (start < minDateTime.getTime()) issues.push({ path: [from ? 'from' : 'to'], message: beginsTooEarly });
  // The end is exclusive, and it is returned to the caller.
  if (end > maxDateTime.getTime()) issues.push({ path: ['to'], message: endsTooLate });
  if (end - start > maxIntervals * length) {
    const unit = by === 'HOUR' ? 'hours' : 'days';
    const message = `The range must have at most ${maxIntervals} ${unit}. Ask for less, or by the day.`;
    issues.push({ path: ['from'], message });
  }
  if (issues.length > 0) throw validationError(issues);
  return { from: new Date(start), to: new Date(end), by };
}

/** The beginnings of the intervals of a range, in milliseconds since the epoch. */
export function intervalStarts({ from, to, by }: UsageRange): number[] {
  const length = intervalMs[by];
  return Array.from(
    { length: (to.getTime() - from.getTime()) / length },
    (_, index) => from.getTime() + index * length,
  );
}
