import type { DetailedConnection } from './operations.ts';

/** A time in which a connection had the same status. */
export type StatusPeriod = DetailedConnection['health']['history'][number];
/** The status of a connection. */
export type Status = StatusPeriod['status'];

/** A day, and the worst status that a connection had in it; undefined if none is known. */
export interface StatusDay {
  start: Date;
  status: Status | undefined;
}

/** The days of the strip: as long as the history is kept. */
export const shownDays = 90;

const worstFirst: readonly Status[] = ['REJECTED', 'UNREACHABLE', 'PENDING', 'VERIFIED'];

/** Returns the last days in the time zone of the browser, the oldest first. */
export function toStatusDays(history: readonly StatusPeriod[], now: Date): StatusDay[] {
  const periods = history.map(({ from, until, status }) => {
    const end = until ? Date.parse(until) : now.getTime() + 1;
    // Of a status with an unknown beginning, only the end is known.
    return { from: from ? Date.parse(from) : end - 1, end, status };
  });
  return Array.from({ length: shownDays }, (_, index) => {
    const day = index + 1 - shownDays;
    const start = startOfDay(now, day);
    const end = startOfDay(now, day + 1).getTime();
    const statuses = periods
      .filter((period) => period.from < end && period.end > start.getTime())
      .map(({ status }) => status);
    return { start, status: worstFirst.find((status) => statuses.includes(status)) };
  });
}

function startOfDay(now: Date, days: number): Date {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + days);
}
