import { Box, Text, Title } from '@mantine/core';
import { formatCount } from '../../common/format-count.ts';
import { statusLabels } from '../list/status.tsx';
import classes from '../table.module.css';
import { type Status, type StatusDay, type StatusPeriod, shownDays, toStatusDays } from './status-days.ts';

const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' });
const time = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** Heights too tell the statuses apart. */
const cells: Record<Status, { height: number; color: string }> = {
  VERIFIED: { height: 24, color: 'var(--mantine-color-green-6)' },
  PENDING: { height: 18, color: 'var(--mantine-color-blue-6)' },
  UNREACHABLE: { height: 14, color: 'var(--mantine-color-orange-6)' },
  REJECTED: { height: 8, color: 'var(--mantine-color-red-8)' },
};
const unknown = { height: 2, color: 'var(--mantine-color-dimmed)' };
const [cellWidth, stripHeight] = [8, 24];

/** The statuses of a connection in the last days: a cell for each day, in words, and as a table of the changes. */
export function StatusHistory({ history }: { history: readonly StatusPeriod[] }) {
  const days = toStatusDays(history, new Date());
  const summary = summarise(days);
  return (
    <section aria-labelledby="status-history" style={{ marginBottom: 'var(--mantine-spacing-xl)' }}>
      <Title order={2} size="h4" id="status-history" mb="xs">
        Last {shownDays} days
      </Title>
      <svg
        role="img"
        aria-label={summary}
        viewBox={`0 0 ${shownDays * cellWidth} ${stripHeight}`}
        preserveAspectRatio="none"
        width="100%"
        height={stripHeight}
      >
        {days.map(({ start, status }, index) => {
          const { height, color } = status ? cells[status] : unknown;
          return (
            <rect
              key={start.getTime()}
              x={index * cellWidth}
              y={stripHeight - height}
              width={cellWidth - 2}
              height={height}
              fill={color}
            >
              <title>{`${day.format(start)}: ${status ? statusLabels[status].label : 'not known'}`}</title>
            </rect>
          );
        })}
      </svg>
      <Text size="sm" c="dimmed" aria-hidden>
        {summary}
      </Text>
      <details style={{ marginTop: 'var(--mantine-spacing-xs)' }}>
        <summary>Changes as a table</summary>
        <HistoryTable history={history} />
      </details>
    </section>
  );
}

function HistoryTable({ history }: { history: readonly StatusPeriod[] }) {
  return (
    <Box style={{ overflowX: 'auto' }} tabIndex={0} role="region" aria-label="Status changes">
      <table className={classes.table} aria-label="Status changes">
        <thead>
          <tr>
            <th>From</th>
            <th>Until</th>
            <th>Status</th>
            <th>Reason</th>
          </tr>
        </thead>
        <tbody>
          {history.map(({ from, until, status, code, isHostOutage }) => (
            <tr key={until ?? ''}>
              <td>{from ? time.format(new Date(from)) : 'Not known'}</td>
              <td>{until ? time.format(new Date(until)) : 'Now'}</td>
              <th scope="row">{isHostOutage ? 'Host down' : statusLabels[status].label}</th>
              <td>{code}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Box>
  );
}

/** `Verified on 88 days, rejected on 2 days.` */
function summarise(days: readonly StatusDay[]): string {
  const parts = Object.keys(statusLabels).flatMap((status) => {
    const count = days.filter((each) => each.status === status).length;
    return count > 0 ? [`${statusLabels[status as Status].label} on ${formatCount(count, 'day')}`] : [];
  });
  const isKnown = days.filter(({ status }) => status).length;
  if (isKnown < days.length) parts.push(`not known on ${days.length - isKnown}`);
  const text = parts.join(', ').toLowerCase();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
