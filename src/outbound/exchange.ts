import type { Dispatcher } from 'undici';
import { toOutboundError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';

/** The limits of one exchange. */
export interface ExchangeOptions {
  timeoutMs: number;
  /** Each of these aborts the exchange. */
  signals: readonly (AbortSignal | undefined)[];
  /** Called when the request is about to be written to a connection. */
  onSend?: (() => void) | undefined;
  /** Called once, unless the exchange has ended before. */
  onFailure(failure: OutboundError): void;
}

/**
 * One request and its response, whatever is done with the response: its start, its time limit, its abort and its failure. It has
 * no `AbortController` and no promise, because they cost as much as the rest of a small exchange.
 */
export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #abort = (): void => this.fail(new OutboundError('ABORTED', 'the request was aborted'));
  #controller: Dispatcher.DispatchController | undefined;
  #failure: OutboundError | undefined;
  #hasEnded = false;
  #hasResponse = false;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    const seconds = options.timeoutMs / 1_000;
    this.#timer = setTimeout(() => {
      const what = this.#hasResponse ? 'the response was not complete' : 'there was no response';
      this.fail(new OutboundError('TIMEOUT', `${what} within ${seconds} s`));
    }, options.timeoutMs);
    for (const signal of options.signals) signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** Whether it has failed. undici goes on to call its handler while it connects, and in the same read. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Absent until the request is sent. */
  get controller(): Dispatcher.DispatchController | undefined {
    return this.#controller;
  }

  /** Sends the request, unless it was aborted before. */
  start(agent: Dispatcher, request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    if (this.#options.signals.some((signal) => signal?.aborted)) this.#abort();
    if (this.#hasEnded) return;
    try {
      agent.dispatch(request, handler);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Takes the means to abort the request; undici has none while it connects. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#failure) controller.abort(this.#failure);
    else this.#options.onSend?.();
  }

  /** The headers of the response have arrived. */
  onResponseStart(): void {
    this.#hasResponse = true;
  }

  /** Ends it with a failure; later ones are ignored. */
  fail(error: unknown): void {
    if (this.#hasEnded) return;
    this.end();
    this.#failure = toOutboundError(error);
    this.#options.onFailure(this.#failure);
    this.#controller?.abort(this.#failure);
  }

  /** Ends it without a failure. */
  end(): void {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
    for (const signal of this.#options.signals) signal?.removeEventListener('abort', this.#abort);
  }
}
