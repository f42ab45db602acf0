import { z } from 'zod';

/** The first and the last timestamp that PostgreSQL can store and JSON can represent. */
export const [minDateTime, maxDateTime] = [
  new Date('0001-01-01T00:00:00Z'),
  new Date('9999-12-31T23:59:59.999Z'),
] as const;

/** A timestamp that PostgreSQL can store and JSON can represent. */
export const dateTime = z
  .date()
  .min(minDateTime, { error: 'The time must be in the year 1 or later.' })
  .max(maxDateTime, { error: 'The time must be in the year 9999 or earlier.' });

/** The same as ISO 8601 text in UTC, which is its form in cursors. */
export const isoDateTime = z.iso.datetime().pipe(z.coerce.date()).pipe(dateTime);

/** The message for a time span that does not end after it begins. Undefined for any other span, also for one without an end. */
export function reversedSpanMessage(
  from: Date | null | undefined,
  to: Date | null | undefined,
  names: { from: string; to: string } = { from: 'from', to: 'to' },
): string | undefined {
  return from && to && from >= to ? `"${names.to}" must be later than "${names.from}".` : undefined;
}

/** The text of a timestamp (RFC 3339) as callers write it. */
export const isoTimestamp = z.iso.datetime({
  offset: true,
  error: 'Must be an RFC 3339 timestamp, such as 2007-12-03T10:15:30.125Z.',
});

/** A timestamp (RFC 3339) as callers write it. */
export const timestamp = isoTimestamp.transform((text) => new Date(text)).pipe(dateTime);
