import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingHttpHeaders } from 'node:http';

/** The attributes of a span. Every value is one of a few, or has a bounded length. */
export type SpanAttributes = Readonly<Record<string, string | number>>;

/** Describes a span that is started. It never has headers, values of variables, results, credentials, or names of tenants. */
export interface SpanDescription {
  name: string;
  /** `server`: a request of a caller; `client`: a request to another host, or a statement; `internal`: a part of either. */
  kind: 'server' | 'client' | 'internal';
  attributes?: SpanAttributes;
  /** The path of a request to another host. The span gets only its template, if there is one for it. */
  path?: string;
}

/** A span that has started. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  /**
   * Starts a span in this one.
   *
   * @returns undefined once the first span of this process in the trace has ended: timers that outlive the request which has
   *   started them are not part of it
   */
  startChild(description: SpanDescription): Span | undefined;
  rename(name: string): void;
  set(attributes: SpanAttributes): void;
  /** @param failure a code, for a span that has failed */
  end(failure?: string): void;
}

/** Starts traces. Absent wherever it is passed if traces are off. */
export interface Tracer {
  /**
   * Starts the first span of this process in a trace.
   *
   * @param headers of a request, whose `traceparent` and `tracestate` name the span of the caller
   */
  startRoot(description: SpanDescription, headers?: IncomingHttpHeaders): Span;
}

/** The span in which the current asynchronous context works. */
export const currentSpan = new AsyncLocalStorage<Span>();

/** Runs a task as a span in the current one. Without one, it only runs the task. */
export function traced<Result>(
  describe: () => SpanDescription,
  task: (span?: Span) => Promise<Result>,
): Promise<Result> {
  const span = currentSpan.getStore()?.startChild(describe());
  return span ? runInSpan(span, task) : task();
}

/** Runs background work as a trace of its own. */
export async function tracedRoot<Result>(
  tracer: Tracer | undefined,
  name: string,
  task: () => Promise<Result>,
): Promise<Result> {
  return tracer ? runInSpan(tracer.startRoot({ name, kind: 'internal' }), task) : task();
}

async function runInSpan<Result>(span: Span, task: (span: Span) => Promise<Result>): Promise<Result> {
  try {
    const result = await currentSpan.run(span, () => task(span));
    span.end();
    return result;
  } catch (error) {
    span.end(nameFailure(error));
    throw error;
  }
}

/** Returns the code or the name of an error. Its message is omitted, because it may repeat values. */
export function nameFailure(error: unknown): string {
  const { code, reason, name } = Object(error);
  const isCode = (text: unknown) => typeof text === 'string' && /^[A-Z0-9_]{2,40}$/.test(text);
  return [code, reason].find(isCode) ?? (/^\w{1,60}$/.test(name) ? name : 'Error');
}
