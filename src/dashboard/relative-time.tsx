import { useEffect, useState } from 'react';

const units = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const;

const relative = new Intl.RelativeTimeFormat('en-GB', { numeric: 'auto' });
const absolute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** A moment as people say it, with the exact one for those who look closer. */
export function Ago({ at }: { at: string }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const ticking = setInterval(() => setNow(Date.now()), 30_000);
    return () => clearInterval(ticking);
  }, []);
  const date = new Date(at);
  // The clocks of the server and of the browser need not agree.
  const seconds = Math.max(0, (Math.max(now, Date.now()) - date.getTime()) / 1_000);
  const [unit, length] = units.find(([, length]) => seconds >= length) ?? [];
  return (
    <time dateTime={at} title={absolute.format(date)}>
      {unit && length ? relative.format(-Math.floor(seconds / length), unit) : 'just now'}
    </time>
  );
}
