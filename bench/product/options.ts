import { parseArgs } from 'node:util';
import { chosen, orExit, positive, roundOptions } from '../peers/options.ts';
import type { Rounds } from '../peers/rounds.ts';

/** The parts, in the order in which they run. */
const partNames = [
  'start',
  'scale',
  'capacity',
  'organisations',
  'memory',
  'tail-latency',
  'noisy-neighbour',
  'event-latency',
  'webhook-delivery',
  'checks',
  'check-bursts',
  'proxy',
  'servers',
  'feature-cost',
  'optimisations',
  'traces',
] as const;
export type PartName = (typeof partNames)[number];

/** The parts to run, their duration and the size of the data. */
export interface Options extends Rounds {
  parts: PartName[];
  /** The number of starts on each database. */
  starts: number;
  /** The number of connections in the big database. */
  rows: number;
  /** The number of organisations in the database of the part `capacity`. */
  organisations: number;
  /** The number of connections created while memory is measured. */
  creates: number;
}

/** Enough for a hundred pages of 20 and one more page. */
const fewestRows = 2_001;

/** Reads the command line. */
export function readOptions(): Options {
  return orExit(() => {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', default: partNames.join(',') },
        starts: { type: 'string', default: '5' },
        rows: { type: 'string', default: '1000000' },
        organisations: { type: 'string', default: '1000' },
        creates: { type: 'string', default: '100000' },
        ...roundOptions,
      },
    });
    const rows = positive('--rows', values.rows);
    if (rows < fewestRows)
      throw new Error(`--rows must be at least ${fewestRows}, for a hundred pages of 20`);
    return {
      parts: chosen('--only', values.only, partNames),
      rounds: positive('--rounds', values.rounds),
      seconds: positive('--seconds', values.seconds),
      starts: positive('--starts', values.starts),
      rows,
      organisations: positive('--organisations', values.organisations),
      creates: positive('--creates', values.creates),
    };
  });
}
