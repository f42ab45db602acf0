import { Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts';
import type { UsageRow } from './usage-ranges.ts';

const series = [
  { key: 'succeeded', name: 'Succeeded', color: 'var(--mantine-color-blue-6)' },
  { key: 'failed', name: 'Answered with an error', color: 'var(--mantine-color-orange-6)' },
  { key: 'unanswered', name: 'Refused or not answered', color: 'var(--mantine-color-red-8)' },
] as const;

const text = 'var(--mantine-color-text)';
const border = 'var(--mantine-color-default-border)';

/** The requests in each interval as stacked bars. Arrow keys move along the bars. */
export default function UsageChart({ rows, label }: { rows: readonly UsageRow[]; label: string }) {
  return (
    <ResponsiveContainer width="100%" height={260}>
      <BarChart data={[...rows]} title={label} margin={{ top: 8, right: 8, bottom: 0, left: 0 }}>
        <CartesianGrid vertical={false} stroke={border} />
        <XAxis dataKey="label" tick={{ fill: text, fontSize: 12 }} stroke={border} minTickGap={16} />
        <YAxis allowDecimals={false} width="auto" tick={{ fill: text, fontSize: 12 }} stroke={border} />
        <Tooltip
          itemSorter={({ dataKey }) => series.findIndex(({ key }) => key === dataKey)}
          labelFormatter={(_, [item]) => item?.payload?.longLabel}
          cursor={{ fill: 'var(--mantine-color-default-hover)' }}
          itemStyle={{ color: text }}
          contentStyle={{
            background: 'var(--mantine-color-body)',
            borderColor: border,
            borderRadius: 'var(--mantine-radius-md)',
          }}
        />
        <Legend
          itemSorter={null}
          wrapperStyle={{ fontSize: 14 }}
          formatter={(name) => <span style={{ color: text }}>{name}</span>}
        />
        {series.map(({ key, name, color }) => (
          <Bar key={key} dataKey={key} name={name} stackId="calls" fill={color} isAnimationActive={false} />
        ))}
      </BarChart>
    </ResponsiveContainer>
  );
}
