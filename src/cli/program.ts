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
