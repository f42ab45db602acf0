import type { ParseArgsOptionsConfig } from 'node:util';
import { describeStartupError } from '../bootstrap/describe-error.ts';
import { parseArguments, UsageError } from './arguments.ts';

/** How a program of the shell was called. */
export interface Invocation {
  args: string[];
  /** The environment variables. */
  environment: Readonly<Record<string, string | undefined>>;
  terminal: Pick<Console, 'log' | 'error'>;
  /** Whether the process runs nothing else, so that V8's flags may be set for it. */
  ownsProcess: boolean;
}

/** A program of the shell. It prints its result or its error and returns the exit code. */
export type Program = (invocation: Invocation) => Promise<number>;

/** A program without commands of its own. */
interface Definition<Options extends ParseArgsOptionsConfig> {
  /** The help text. */
  usage: string;
  options: Options;
  /** The start of the message if `main` fails, such as "Cannot verify". */
  failure: string;
}

/**
 * Defines a program that takes only options. It prints its help, the errors of `main` with exit code 1, and wrong arguments with
 * exit code 2.
 *
 * @param main returns the exit code
 */
export function defineProgram<const Options extends ParseArgsOptionsConfig>(
  { usage, options, failure }: Definition<Options>,
  main: (
    given: ReturnType<typeof parseArguments<Options>>['options'],
    invocation: Invocation,
  ) => Promise<number>,
): Program {
  return async (invocation) => {
    const { args, terminal } = invocation;
    try {
      const { name, options: given } = parseArguments(args, options);
      if (name === undefined) return await main(given, invocation);
      if (name !== 'help') throw new UsageError(`Unexpected argument "${name}".`);
      terminal.log(usage);
      return 0;
    } catch (error) {
      const isUsage = error instanceof UsageError;
      terminal.error(isUsage ? `${error.message}\n${usage}` : `${failure}: ${describeStartupError(error)}`);
      return isUsage ? 2 : 1;
    }
  };
}
