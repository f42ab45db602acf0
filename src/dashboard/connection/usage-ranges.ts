import type { VariablesOf } from 'gql.tada';
import type { Usage, usageQuery } from './operations.ts';

const dayMs = 86_400_000;

/** A range of time to choose. */
export interface UsageRange extends Pick<VariablesOf<typeof usageQuery>, 'by'> {
  label: string;
  days: number;
}

/** The ranges to choose from. The server keeps 90 days. */
export const usageRanges: readonly [UsageRange, ...UsageRange[]] = [
  { label: 'Last 24 hours', by: 'HOUR', days: 1 },
  { label: 'Last 7 days', by: 'DAY', days: 7 },
  { label: 'Last 30 days', by: 'DAY', days: 30 },
  { label: 'Last 90 days', by: 'DAY', days: 90 },
];

/**
 * Returns the beginning of a range that ends now. The server rounds it down to a full hour or day, so it is one interval later: seven days
 * are today and the six days before.
 */
export function getRangeStart({ by, days }: UsageRange, now = Date.now()): string {
  return new Date(now - days * dayMs + (by === 'DAY' ? dayMs : dayMs / 24)).toISOString();
}

const hour = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const longHour = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
// The server counts days in UTC.
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const longDay = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeZone: 'UTC' });

/** An interval of the chart and of its table. */
export interface UsageRow {
  start: string;
  label: string;
  /** With the date. */
  longLabel: string;
  /** Calls with a status under 400. */
  succeeded: number;
  /** Calls with a status of 400 or more. */
  failed: number;
  /** Calls without a response: refused here, or the app could not be reached. */
  unanswered: number;
  p50Ms: number | null;
  p99Ms: number | null;
}

/** Prepares the usage for the chart and its table. */
export function toRows({ buckets }: Usage, by: UsageRange['by']): readonly UsageRow[] {
  const [short, long] = by === 'DAY' ? [day, longDay] : [hour, longHour];
  return buckets.map(({ start, counts: { statusClasses, p50Ms, p99Ms } }) => {
    const sum = (matches: (statusClass: number | null) => boolean) =>
      statusClasses.reduce((total, { statusClass, calls }) => total + (matches(statusClass) ? calls : 0), 0);
    const at = new Date(start);
    return {
      start,
      label: short.format(at),
      longLabel: long.format(at),
      succeeded: sum((statusClass) => statusClass !== null && statusClass < 4),
      failed: sum((statusClass) => statusClass !== null && statusClass >= 4),
      unanswered: sum((statusClass) => statusClass === null),
      p50Ms,
      p99Ms,
    };
  });
}
