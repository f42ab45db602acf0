import { availableParallelism, cpus, loadavg } from 'node:os';
import type { Round } from './rounds.ts';

/** The date and the machine. */
export function machine(): string {
  const [cpu] = cpus();
  return `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${availableParallelism()} × ${cpu?.model}`;
}

/** The load averages of the last one, five and fifteen minutes. */
export function machineLoad(): string {
  return loadavg()
    .map((each) => each.toFixed(1))
    .join(', ');
}

/** Processor time of the server for 1,000 responses, in seconds. */
export function cpuSecondsPer1000({
  cpuSeconds,
  responseCount,
}: Pick<Round, 'cpuSeconds' | 'responseCount'>): number {
  return (cpuSeconds / responseCount) * 1_000;
}

/** A quantile of the latency, in milliseconds. */
export function latencyQuantile(share: number, ...rounds: Pick<Round, 'latencies'>[]): number {
  return quantile(
    rounds.flatMap(({ latencies }) => latencies),
    share,
  );
}

/** The ratio of a quantity in each round: other load on the machine affects both sides of a round. */
export function ratiosPerRound<Result>(
  ones: readonly Result[],
  others: readonly Result[],
  quantity: (result: Result) => number,
): number[] {
  return ones.flatMap((one, index) => {
    const other = others[index];
    return other ? [quantity(one) / quantity(other)] : [];
  });
}

/** Formats the median and the quartiles. */
export function formatQuartiles(values: readonly number[]): string {
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(values, share).toFixed(2));
  return `${middle} (${low} to ${high})`;
}

/** The median. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;
}

/** Formats a Markdown table with words in the first column and numbers in the others. */
export function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join(
    '\n',
  );
}
