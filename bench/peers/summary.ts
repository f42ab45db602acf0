import { availableParallelism, cpus, loadavg } from 'node:os';
import type { Round } from './rounds.ts';

/** The day, and the machine that it all runs on. */
export function machine(): string {
  const [cpu] = cpus();
  return `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${availableParallelism()} × ${cpu?.model}`;
}

/** What the machine has had to do in the last one, five and fifteen minutes. */
export function machineLoad(): string {
  return loadavg()
    .map((each) => each.toFixed(1))
    .join(', ');
}

/** Of the processor, in seconds, by the server for a thousand answers. */
export function cpuOfThousand({ cpuSeconds, answers }: Pick<Round, 'cpuSeconds' | 'answers'>): number {
  return (cpuSeconds / answers) * 1_000;
}

/** How long answers took, in milliseconds, in the share of them that was quickest. */
export function latencyAt(share: number, ...rounds: Pick<Round, 'latencies'>[]): number {
  return quantile(
    rounds.flatMap(({ latencies }) => latencies),
    share,
  );
}

/** Ratios within a round, of which what else the machine does weighs on both sides. */
export function ratiosOf<Seen>(
  ones: readonly Seen[],
  others: readonly Seen[],
  what: (seen: Seen) => number,
): number[] {
  return ones.flatMap((one, index) => {
    const other = others[index];
    return other ? [what(one) / what(other)] : [];
  });
}

/** The median, and the quartiles. */
export function spread(values: readonly number[]): string {
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(values, share).toFixed(2));
  return `${middle} (${low} to ${high})`;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;
}

/** A table in Markdown, whose first column is of words and all others of numbers. */
export function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join(
    '\n',
  );
}
