import { useEffect, useState } from 'react';

const units = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const;

const relative = new Intl.RelativeTimeFormat('en-GB', { numeric: 'auto' });
const absolute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

interface RelativeTimeProps {
  at: string;
  isFuture?: boolean;
}

/** A time relative to now, with the absolute time as a tooltip. */
export function RelativeTime({ at, isFuture = false }: RelativeTimeProps) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 30_000);
    return () => clearInterval(timer);
  }, []);
  const date = new Date(at);
  // The clocks of server and browser can differ.
  const passed = (Math.max(now, Date.now()) - date.getTime()) / 1_000;
  const seconds = Math.max(0, isFuture ? -passed : passed);
  const [unit, length] = units.find(([, length]) => seconds >= length) ?? [];
  return (
    <time dateTime={at} title={absolute.format(date)}>
      {unit && length
        ? relative.format((isFuture ? 1 : -1) * Math.floor(seconds / length), unit)
        : isFuture
          ? 'now'
          : 'just now'}
    </time>
  );
}
