import { OutboundError } from './outbound-error.ts';

/** A time limit for promises that cannot be aborted: undici cannot abort while it connects. */
export interface Deadline extends Disposable {
  /** Aborts with an `OutboundError`. */
  readonly signal: AbortSignal;
  /** The message of the time-out error. */
  message: string;
  /** Resolves with the promise, or rejects at the time-out or abort. */
  within<T>(promise: Promise<T>): Promise<T>;
}

/** Starts a time limit. Dispose of it when the request has ended; each of `others` aborts it. */
export function startDeadline(timeoutMs: number, others: readonly (AbortSignal | undefined)[]): Deadline {
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  const stop = (error: OutboundError) => {
    controller.abort(error);
    aborted.reject(error);
  };
  const abort = () => stop(new OutboundError('ABORTED', 'the request was aborted'));
  const timer = setTimeout(() => stop(new OutboundError('TIMEOUT', deadline.message)), timeoutMs);
  for (const other of others) {
    if (other?.aborted) abort();
    other?.addEventListener('abort', abort, { once: true });
  }
  const deadline: Deadline = {
    signal,
    message: `there was no response within ${timeoutMs / 1000} s`,
    within: (promise) => Promise.race([promise, aborted.promise]),
    [Symbol.dispose]() {
      clearTimeout(timer);
      for (const other of others) other?.removeEventListener('abort', abort);
    },
  };
  return deadline;
}
