import type { Measured, Round } from './rounds.ts';
import { type ServerName, servers } from './servers.ts';
import { cpuOfThousand, latencyAt, median, ratiosOf, spread, table } from './summary.ts';

/** Formats the measurements of one operation, with the product compared to each peer. */
export function report({ operation, rounds }: Measured): string {
  const product = rounds.get('product');
  const rows = [...rounds].map(([name, own]) => {
    const ratio = (what: (round: Round) => number) =>
      product && name !== 'product' ? spread(ratiosOf(product, own, what)) : '';
    return [
      servers[name].title,
      median(own.map((round) => round.perSecond)).toFixed(0),
      latencyAt(0.5, ...own).toFixed(1),
      latencyAt(0.99, ...own).toFixed(1),
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

/** Formats the memory of each server. */
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

/** The titles of the tables. */
export const titles = { read: 'read one by id', list: 'first 20 of 1,000 by name', create: 'create' };
