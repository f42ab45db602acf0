import type { OperationRounds, Round } from './rounds.ts';
import { type ServerName, servers } from './servers.ts';
import {
  cpuSecondsPer1000,
  formatQuartiles,
  latencyQuantile,
  median,
  ratiosPerRound,
  table,
} from './summary.ts';

/** Formats the measurements of one operation, with the product compared to each peer. */
export function report({ operation, rounds, roundsOfAll }: OperationRounds): string {
  const product = rounds.get('product');
  const perSecond = (round: Round) => round.perSecond;
  const rows = [...rounds].map(([name, own]) => {
    const ratio = (quantity: (round: Round) => number, ofProduct = product, ofServer = own) =>
      ofProduct && name !== 'product' ? formatQuartiles(ratiosPerRound(ofProduct, ofServer, quantity)) : '';
    const ofAll = roundsOfAll.get(name) ?? [];
    return [
      servers[name].title,
      median(own.map(perSecond)).toFixed(0),
      latencyQuantile(0.5, ...own).toFixed(1),
      latencyQuantile(0.99, ...own).toFixed(1),
      median(own.map(cpuSecondsPer1000)).toFixed(2),
      ratio(perSecond),
      ratio(cpuSecondsPer1000),
      median(ofAll.map(perSecond)).toFixed(0),
      ratio(perSecond, roundsOfAll.get('product'), ofAll),
      formatQuartiles(ratiosPerRound(ofAll, own, perSecond)),
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
      'requests/s, 50 organisations',
      'product ÷ it: requests/s, 50 organisations',
      '50 organisations ÷ 1',
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
