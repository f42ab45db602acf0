/** How far the clock of the database is ahead of the clock of this server, in milliseconds. */
let offsetMs = 0;

/**
 * The current time in milliseconds since the epoch, by the clock of the database. All servers of a database share it, so what one
 * stores is neither in the future nor too old for another. Use `performance.now()` for durations.
 */
export function currentTimeMs(): number {
  return Date.now() + offsetMs;
}

/** The current time, as `currentTimeMs`. */
export function currentTime(): Date {
  return new Date(currentTimeMs());
}

/** How far the clock of the database is ahead of the clock of this machine, in milliseconds. */
export function clockOffsetMs(): number {
  return offsetMs;
}

/** Sets the time of the database, in milliseconds since the epoch. Returns the offset of its clock in milliseconds. */
export function synchroniseClock(databaseTimeMs: number, localTimeMs: number): number {
  offsetMs = Math.round(databaseTimeMs - localTimeMs);
  return offsetMs;
}
