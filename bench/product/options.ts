import { parseArgs } from 'node:util';
import { chosen, orExit, positive, roundOptions } from '../peers/options.ts';
import type { Rounds } from '../peers/rounds.ts';

/** What is measured, in the order in which it is. */
export const partNames = [
  'start',
  'scale',
  'memory',
  'tail-latency',
  'noisy-neighbour',
  'servers',
  'feature-cost',
  'optimisations',
] as const;
export type PartName = (typeof partNames)[number];

/** What to measure, for how long and on how much. */
export interface Options extends Rounds {
  parts: PartName[];
  /** How often both databases are started afresh. */
  starts: number;
  /** How many connections the big database has. */
  rows: number;
  /** How many connections are made while memory is looked at. */
  creates: number;
}

/** A page of 20 that is the hundredth, and one after it. */
const fewestRows = 2_001;

/** Reads the command line. */
export function readOptions(): Options {
  return orExit(() => {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', default: partNames.join(',') },
        starts: { type: 'string', default: '5' },
        rows: { type: 'string', default: '1000000' },
        creates: { type: 'string', default: '100000' },
        ...roundOptions,
      },
    });
    const rows = positive('--rows', values.rows);
    if (rows < fewestRows) throw new Error(`--rows is at least ${fewestRows}, for a hundred pages of 20`);
    return {
      parts: chosen('--only', values.only, partNames),
      rounds: positive('--rounds', values.rounds),
      seconds: positive('--seconds', values.seconds),
      starts: positive('--starts', values.starts),
      rows,
      creates: positive('--creates', values.creates),
    };
  });
}
