import { parseArgs } from 'node:util';
import { type OperationName, operationNames } from './operations.ts';
import type { Rounds } from './rounds.ts';
import { type ServerName, serverNames } from './servers.ts';

/** The operations and servers to measure, and the rounds. */
export interface Options extends Rounds {
  operations: OperationName[];
  servers: ServerName[];
}

/** The options that all runs share, for parseArgs. */
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

/** Parses a command line; prints the error and exits when it is invalid. */
export function orExit<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}

/** Parses a list of names, and returns them in the canonical order. */
export function chosen<Name extends string>(option: string, list: string, names: readonly Name[]): Name[] {
  const requested = list.split(',').map((name) => name.trim());
  const unknown = requested.find((name) => !names.some((known) => known === name));
  if (unknown !== undefined) {
    throw new Error(`${option}: there is no "${unknown}"; choose from ${names.join(',')}`);
  }
  return names.filter((name) => requested.includes(name));
}

/** Parses a positive integer. */
export function positive(option: string, text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0) return number;
  throw new Error(`${option} must be a positive integer, such as ${option} 3`);
}
