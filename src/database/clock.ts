import { synchroniseClock } from '../common/clock.ts';
import { errorField } from '../common/error-field.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { tooManyConnectionsCode } from './outage.ts';

/** The time between two measurements, in milliseconds. */
const intervalMs = 60_000;

/** A difference that is logged, in milliseconds. */
const notableOffsetMs = 1_000;

/** The most measurements, because one that has to wait is inexact. */
const maxMeasurements = 3;

/** A round trip that makes a measurement exact enough, in milliseconds. */
const exactMs = 5;

type Query = (sql: string) => Promise<object[]>;

/**
 * Sets the clock of this process by the database, now and once a minute.
 *
 * @returns a function that stops
 * @throws the error of the first measurement if the database has no connection left for it
 */
export async function followDatabaseClock(query: Query, log: Logger): Promise<() => void> {
  const message = 'could not read the clock of the database; retrying in a minute';
  try {
    const offsetMs = await measureOffset(query);
    if (Math.abs(offsetMs) > notableOffsetMs)
      log.warn({ offsetMs }, 'the clock of this server differs from that of the database, which is used');
  } catch (error) {
    // Other errors of a busy database may be over soon.
    if (errorField(error, 'code') === tooManyConnectionsCode) throw error;
    log.warn({ error: safeErrorFields(error) }, message);
  }
  const measureAgain = () =>
    measureOffset(query).catch((error: unknown) => log.debug({ error: safeErrorFields(error) }, message));
  const timer = setInterval(measureAgain, intervalMs).unref();
  return () => clearInterval(timer);
}

/** Returns the offset of the database's clock, in milliseconds, and sets the clock of this process by it. */
export async function measureOffset(query: Query): Promise<number> {
  let shortest = Number.POSITIVE_INFINITY;
  let offsetMs = 0;
  for (let count = 0; count < maxMeasurements && shortest > exactMs; count += 1) {
    const started = performance.now();
    const [row] = await query('select extract(epoch from clock_timestamp())::float8 * 1000 as "timeMs"');
    const durationMs = performance.now() - started;
    if (durationMs >= shortest) continue;
    shortest = durationMs;
    offsetMs = synchroniseClock(Number(Object(row).timeMs), Date.now() - durationMs / 2);
  }
  return offsetMs;
}
