import { OutboundError } from './outbound-error.ts';

/** A time limit on promises that cannot all be aborted: undici cannot abort while it connects. */
export interface Deadline extends Disposable {
  /** Aborts with the `OutboundError` that ended the exchange. */
  readonly signal: AbortSignal;
  /** What the error says when the time is over. */
  message: string;
  /** Gives what `work` gives, unless the time is over or somebody gives up before. */
  within<T>(work: Promise<T>): Promise<T>;
}

/** Starts the clock. Dispose of it when the exchange is over; any of `others` ends it early. */
export function startDeadline(timeoutMs: number, others: readonly (AbortSignal | undefined)[]): Deadline {
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  const stop = (error: OutboundError) => {
    controller.abort(error);
    aborted.reject(error);
  };
  const giveUp = () => stop(new OutboundError('ABORTED', 'the request was aborted'));
  const timer = setTimeout(() => stop(new OutboundError('TIMEOUT', deadline.message)), timeoutMs);
  for (const other of others) {
    if (other?.aborted) giveUp();
    other?.addEventListener('abort', giveUp, { once: true });
  }
  const deadline: Deadline = {
    signal,
    message: `there was no response within ${timeoutMs / 1000} s`,
    within: (work) => Promise.race([work, aborted.promise]),
    [Symbol.dispose]() {
      clearTimeout(timer);
      for (const other of others) other?.removeEventListener('abort', giveUp);
    },
  };
  return deadline;
}
