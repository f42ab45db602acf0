import { AsyncLocalStorage } from 'node:async_hooks';
import { type DestinationStream, type Logger, pino } from 'pino';
import { errorField } from './error-field.ts';
import { serverId, version } from './server-identity.ts';
import { StdoutLines } from './stdout-lines.ts';
import { Stopwatch } from './stopwatch.ts';
import { currentSpan, type Span } from './tracing.ts';

export type { Logger } from 'pino';

/** Properties of the current request, for its log line. */
export class RequestLogContext {
  readonly id: string;
  /** In the time of `performance.now()`. */
  readonly startedAt = performance.now();
  /** The client IP: the peer's address, or what a trusted proxy forwards. */
  readonly address: string | undefined;
  /** As it was sent. */
  readonly url: string | undefined;
  /** The path for the log, without the query and without what an app is asked for. Absent: it is made of `url`. */
  path?: string;
  /** The part of the API that serves it, for metrics: `graphql`, `rest` or `proxy`. */
  surface = 'other';
  /** The template of its path: `/graphql` or `/api/v1/app-connections/okta/:id`. Absent for pages and unknown paths. */
  route?: string;
  /** Its span; absent if traces are off. */
  span?: Span | undefined;
  /** The first field of the GraphQL operation in the schema, for metrics. */
  field?: string;
  /** Whether it is a health check. */
  isProbe = false;
  /** The time in which it waits for the database, or for changes that share its statement. */
  readonly database = new Stopwatch();
  /** The part of it in which it waits for a connection of the pool. */
  readonly pool = new Stopwatch();
  /** The time in which it waits for responses of other hosts, up to their headers. */
  readonly upstream = new Stopwatch();
  /** The name of the GraphQL operation, once its document has been parsed. */
  operation?: string;
  /** The caller's organisation. */
  orgId?: string;
  /** The id of the caller's API key; null for an access token. */
  keyId?: string | null;
  /** The subject of the caller's access token; null for an API key. */
  subject?: string | null;
  /** The id of the setup link that the caller has in place of an API key or a token. */
  setupLinkId?: string;
  /** The first error code of the response. */
  outcome?: string;

  constructor(id: string, address: string | undefined, url: string | undefined) {
    this.id = id;
    this.address = address;
    this.url = url;
  }
}

/** Runs a task, and adds its time to the current request, if there is one. */
export async function timed<Result>(
  what: 'database' | 'pool' | 'upstream',
  task: () => Promise<Result>,
): Promise<Result> {
  const stopwatch = currentRequest.getStore()?.[what];
  if (!stopwatch) return task();
  stopwatch.start();
  try {
    return await task();
  } finally {
    stopwatch.stop();
  }
}

/** The request that the current asynchronous context serves. */
export const currentRequest = new AsyncLocalStorage<RequestLogContext>();

/**
 * Creates a pino logger that adds the server, its version, the request id and the ids of the trace to each line. Writes to standard
 * output by default.
 */
export function createLog(level: string, destination: DestinationStream = stdoutBuffer()): Logger {
  const options = {
    level,
    base: { server: serverId, version },
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
    mixin: (fields: object) => ('requestId' in fields ? noIds : currentIds()),
    // Without a copy of all fields of the line of a request.
    mixinMergeStrategy: (fields: object, ids: object) => (ids === noIds ? fields : { ...ids, ...fields }),
  };
  return pino(options, destination);
}

const noIds = {};

function currentIds(): object {
  const id = currentRequest.getStore()?.id;
  const span = currentSpan.getStore();
  return { ...(id && { requestId: id }), ...(span && { traceId: span.traceId, spanId: span.spanId }) };
}

let stdout: StdoutLines | undefined;

/** Returns the buffer of standard output. A process has one. */
function stdoutBuffer(): StdoutLines {
  stdout ??= new StdoutLines((lines) => {
    const msg = 'log lines were dropped because standard output took none';
    const fields = JSON.stringify({ server: serverId, version, lines, msg });
    // With the time of other lines, which comes with a comma and its name.
    return `{"level":"warn"${pino.stdTimeFunctions.isoTime()},${fields.slice(1)}\n`;
  });
  return stdout;
}

/**
 * Returns what may be logged of an error: name, code, constraint and stack. The message is omitted, because the messages of
 * databases, parsers and HTTP clients repeat values.
 */
export function safeErrorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { name: typeof error };
  const code = errorField(error, 'code');
  const constraint = errorField(error, 'constraint');
  return {
    name: error.name,
    ...(code !== undefined && { code }),
    ...(constraint !== undefined && { constraint }),
    at: error.stack
      ?.split('\n')
      .filter((line) => /^\s+at /.test(line))
      .map((line) => line.trim())
      .slice(0, 12),
    ...(error.cause !== undefined && { cause: safeErrorFields(error.cause) }),
  };
}

/**
 * Logs an unexpected error.
 *
 * @returns what the caller may know
 */
export function logUnexpectedError(log: Logger, error: unknown, where: Record<string, unknown> = {}) {
  log.error({ error: safeErrorFields(error), ...where }, 'unexpected error');
  return {
    message: 'The server failed unexpectedly.',
    requestId: currentRequest.getStore()?.id,
    remedy: 'Try again; if it happens again, give the request id to the operator.',
  };
}
