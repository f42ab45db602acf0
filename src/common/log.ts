import { AsyncLocalStorage } from 'node:async_hooks';
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

/** What is known of the request being served, for its one log line. */
export interface RequestLogContext {
  readonly id: string;
  /** Where it came from: as the operating system has it, or as a trusted proxy says. */
  readonly address?: string | undefined;
  /** The name of the GraphQL operation, once its document has been parsed. */
  operation?: string;
  /** The caller's organisation. */
  orgId?: string;
  /** The id of the caller's API key; null when it was a token. */
  keyId?: string | null;
  /** Who the identity provider says the caller is; null when it was an API key. */
  subject?: string | null;
  /** The first error code of the answer. */
  outcome?: string;
}

/** The request being served, for whatever runs on its behalf. */
export const currentRequest = new AsyncLocalStorage<RequestLogContext>();

/** A pino logger that adds the request's id to each line. Writes to stdout unless told otherwise. */
export function createLog(level: string, destination: DestinationStream = bufferedStdout()): Logger {
  const options = {
    level,
    base: null,
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
    mixin: () => {
      const id = currentRequest.getStore()?.id;
      return id ? { requestId: id } : {};
    },
  };
  return pino(options, destination);
}

/** Standard output, to which the lines of one moment are written at its end: each write costs as much as a small answer. */
function bufferedStdout(): DestinationStream {
  const stdout = pino.destination(1);
  let lines = '';
  const writeAll = () => {
    const all = lines;
    lines = '';
    if (all) stdout.write(all);
  };
  // Whatever ends the process, short of a signal that it cannot hear, the last lines say why.
  process.once('exit', writeAll);
  return {
    write(line) {
      if (!lines) setImmediate(writeAll);
      lines += line;
    },
  };
}

/**
 * What may be logged of an error: its kind, its code and where it was thrown. Its message is left out, because
 * messages of databases, parsers and clients repeat the values that they were given.
 */
export function safeErrorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { name: typeof error };
  const { code, constraint } = error as { code?: unknown; constraint?: unknown };
  return {
    name: error.name,
    ...(typeof code === 'string' && { code }),
    ...(typeof constraint === 'string' && { constraint }),
    at: error.stack
      ?.split('\n')
      .filter((line) => /^\s+at /.test(line))
      .map((line) => line.trim())
      .slice(0, 12),
    ...(error.cause !== undefined && { cause: safeErrorFields(error.cause) }),
  };
}

/**
 * Logs what nobody foresaw.
 *
 * @returns all that the caller may know of it
 */
export function logUnexpectedError(log: Logger, error: unknown, where: Record<string, unknown> = {}) {
  log.error({ error: safeErrorFields(error), ...where }, 'unexpected error');
  return {
    message: 'Something went wrong on our side.',
    requestId: currentRequest.getStore()?.id,
    remedy: 'Try again; if it happens again, tell the operator the request id.',
  };
}
