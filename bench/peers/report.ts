import type { Measured, Round } from './rounds.ts';
import { type ServerName, servers } from './servers.ts';

/** A table of what was seen of one operation, with the product compared to each peer. */
export function report({ operation, rounds }: Measured): string {
  const product = rounds.get('product');
  const rows = [...rounds].map(([name, own]) => {
    const latencies = own.flatMap((round) => round.latencies).sort((a, b) => a - b);
    const ratio = (what: (round: Round) => number) =>
      product && name !== 'product' ? ratioOf(product, own, what) : '';
    return [
      servers[name].title,
      median(own.map((round) => round.perSecond)).toFixed(0),
      quantile(latencies, 0.5).toFixed(1),
      quantile(latencies, 0.99).toFixed(1),
      median(own.map(cpuOfThousand)).toFixed(2),
      ratio((round) => round.perSecond),
      ratio(cpuOfThousand),
    ];
  });
  return table(
    [
      titles[operation],
      'requests/s',
      'p50 ms',
      'p99 ms',
      'CPU s per 1,000',
      'product ÷ it: requests/s',
      'product ÷ it: CPU',
    ],
    rows,
  );
}

/** A table of the memory that each server has. */
export function reportMemory(memory: Map<ServerName, { before: number; after: number }>): string {
  return table(
    ['resident memory, MiB', 'when up', 'at the end'],
    [...memory].map(([name, { before, after }]) => [
      servers[name].title,
      before.toFixed(0),
      after.toFixed(0),
    ]),
  );
}

const titles = { read: 'read one by id', list: 'first 20 of 1,000 by name', create: 'create' };

function cpuOfThousand({ cpuSeconds, answers }: Round): number {
  return (cpuSeconds / answers) * 1_000;
}

/** The median of the ratios within a round, which what else the machine does spares; and their quartiles. */
function ratioOf(product: Round[], peer: Round[], what: (round: Round) => number): string {
  const ratios = product.flatMap((round, index) => {
    const other = peer[index];
    return other ? [what(round) / what(other)] : [];
  });
  ratios.sort((a, b) => a - b);
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(ratios, share).toFixed(2));
  return `${middle} (${low} to ${high})`;
}

function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join(
    '\n',
  );
}
