import { Box, Button, Center, Group, NativeSelect, Skeleton, Stack, Text, Title } from '@mantine/core';
import { lazy, Suspense, useState } from 'react';
import { useQuery } from 'urql';
import { parseError } from '../api-error.ts';
import { CallersTable } from '../callers-table.tsx';
import { ConnectionUsers, useConnectionUsers } from '../connection-users.tsx';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import classes from '../table.module.css';
import { toWords } from '../use-audit-events.ts';
import { type Usage, usageQuery } from './operations.ts';
import { getRangeStart, toRows, type UsageRange, type UsageRow, usageRanges } from './usage-ranges.ts';

const UsageChart = lazy(() => import('./usage-chart.tsx'));

const number = new Intl.NumberFormat('en-GB');
const ms = (value: number | null) => (value === null ? '–' : `${number.format(Math.round(value))} ms`);

/** `14 kB`, in powers of 1,000. */
function bytes(value: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(value) / 3)));
  return `${number.format(Number((value / 1_000 ** power).toPrecision(3)))} ${units[power]}`;
}

/** The requests through a connection: a chart, the same as a table, and the callers. */
export function UsageTab({ connectionId }: { connectionId: string }) {
  const [range, setRange] = useState(usageRanges[0]);
  const [from, setFrom] = useState(() => getRangeStart(range));
  const choose = (label: string) => {
    const chosen = usageRanges.find((range) => range.label === label) ?? usageRanges[0];
    setRange(chosen);
    setFrom(getRangeStart(chosen));
  };
  return (
    <Stack>
      <Group align="end">
        <NativeSelect
          label="Time"
          data={usageRanges.map(({ label }) => label)}
          value={range.label}
          onChange={(event) => choose(event.currentTarget.value)}
        />
        <Button variant="default" onClick={() => setFrom(getRangeStart(range))}>
          Refresh
        </Button>
      </Group>
      {/* With its key, it does not show the usage of another range while it loads. */}
      <LoadedUsage key={range.label} connectionId={connectionId} range={range} from={from} />
      <Title order={3} size="h5">
        Used by
      </Title>
      <LoadedUsers key={from} connectionId={connectionId} />
    </Stack>
  );
}

function LoadedUsers({ connectionId }: { connectionId: string }) {
  return <ConnectionUsers {...useConnectionUsers(connectionId)} />;
}

interface LoadedUsageProps {
  connectionId: string;
  range: UsageRange;
  from: string;
}

function LoadedUsage({ connectionId, range: { by, label }, from }: LoadedUsageProps) {
  const [{ data, error }, refetch] = useQuery({
    query: usageQuery,
    variables: { id: connectionId, from, by },
    requestPolicy: 'cache-and-network',
  });
  const usage = data?.appConnection?.usage;
  return (
    <>
      {error && <ErrorAlert apiError={parseError(error)} onRetry={() => refetch()} />}
      {!usage && !error && <Skeleton h={260} role="status" aria-label="Loading" />}
      {usage && <UsageOfRange usage={usage} by={by} label={`Requests, ${label.toLowerCase()}`} />}
    </>
  );
}

function UsageOfRange({ usage, by, label }: { usage: Usage; by: 'HOUR' | 'DAY'; label: string }) {
  const { calls, p50Ms, p99Ms, bytesUp, bytesDown, outcomes } = usage.total;
  if (calls === 0)
    return <Text role="status">No requests were sent through this connection in this time.</Text>;
  const rows = toRows(usage, by);
  const notOk = outcomes.filter(({ outcome }) => outcome !== 'OK');
  return (
    <>
      <Text size="sm" role="status">
        {number.format(calls)} {calls === 1 ? 'request' : 'requests'}; median {ms(p50Ms)}, 99th percentile{' '}
        {ms(p99Ms)}; {bytes(bytesUp)} sent, {bytes(bytesDown)} received.
      </Text>
      {notOk.length > 0 && (
        <Text size="sm">
          Refused or not answered:{' '}
          {notOk.map(({ outcome, calls }) => `${toWords(outcome)} (${number.format(calls)})`).join(', ')}.
        </Text>
      )}
      <figure style={{ margin: 0 }} aria-label={label}>
        <Suspense
          fallback={
            <Center h={260}>
              <Loading />
            </Center>
          }
        >
          <UsageChart rows={rows} label={label} />
        </Suspense>
      </figure>
      <details>
        <summary>The chart as a table</summary>
        <UsageTable rows={rows} label={label} by={by} />
      </details>
      <Title order={3} size="h5">
        Callers
      </Title>
      <CallersTable callers={usage.callers} />
    </>
  );
}

function UsageTable({ rows, label, by }: { rows: readonly UsageRow[]; label: string; by: 'HOUR' | 'DAY' }) {
  return (
    <Box style={{ overflowX: 'auto' }} tabIndex={0} role="region" aria-label={label}>
      <table className={classes.table} aria-label={label}>
        <thead>
          <tr>
            <th>{by === 'DAY' ? 'Day (UTC)' : 'Hour'}</th>
            <th>Succeeded</th>
            <th>Answered with an error</th>
            <th>Refused or not answered</th>
            <th>Median</th>
            <th>99th percentile</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ start, longLabel, succeeded, failed, unanswered, p50Ms, p99Ms }) => (
            <tr key={start}>
              <th scope="row" className={classes.short}>
                {longLabel}
              </th>
              <td>{number.format(succeeded)}</td>
              <td>{number.format(failed)}</td>
              <td>{number.format(unanswered)}</td>
              <td>{ms(p50Ms)}</td>
              <td>{ms(p99Ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Box>
  );
}
