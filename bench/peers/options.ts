import { parseArgs } from 'node:util';
import { type OperationName, operationNames } from './operations.ts';
import type { Rounds } from './rounds.ts';
import { type ServerName, serverNames } from './servers.ts';

/** What to measure, and for how long. */
export interface Options extends Rounds {
  operations: OperationName[];
  servers: ServerName[];
}

/** How to read the options that all have. */
export const roundOptions = {
  rounds: { type: 'string', default: '8' },
  seconds: { type: 'string', default: '3' },
} as const;

/** Reads the command line. */
export function readOptions(): Options {
  return orExit(() => {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', default: operationNames.join(',') },
        servers: { type: 'string', default: serverNames.join(',') },
        ...roundOptions,
      },
    });
    return {
      operations: chosen('--only', values.only, operationNames),
      servers: chosen('--servers', values.servers, serverNames),
      rounds: positive('--rounds', values.rounds),
      seconds: positive('--seconds', values.seconds),
    };
  });
}

/** Reads a command line; ends the process where that makes no sense. */
export function orExit<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}

/** The names in a list, in the order in which they are known. */
export function chosen<Name extends string>(option: string, list: string, names: readonly Name[]): Name[] {
  const given = list.split(',').map((name) => name.trim());
  const unknown = given.find((name) => !names.some((known) => known === name));
  if (unknown !== undefined) {
    throw new Error(`${option}: there is no "${unknown}"; choose from ${names.join(',')}`);
  }
  return names.filter((name) => given.includes(name));
}

/** A number that can be counted. */
export function positive(option: string, text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Error(`${option} is a whole number from 1 on, such as ${option} 3`);
}
