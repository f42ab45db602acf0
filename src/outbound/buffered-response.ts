import type { Dispatcher } from 'undici';
import { toOutboundError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';
import { ResponseBody } from './response-body.ts';

/** The most headers of an answer. Okta sends about 30. */
const maxHeaders = 200;

/** The most interim responses (status 1xx) before the final one. A host could send them without end. */
const maxInterimResponses = 8;

/** What the other host answered, whatever the status; redirects are not followed. */
export interface OutboundResponse {
  status: number;
  /** Names in lower case; a header that came several times is joined with commas. */
  headers: Readonly<Record<string, string>>;
  body: string;
}

/** How much one exchange may take, and who may end it. */
export interface RequestLimits {
  timeoutMs: number;
  maxBytes: number;
  /** Any of these ends it early. */
  signals: readonly (AbortSignal | undefined)[];
}

type RawHeaders = Readonly<Record<string, string | string[] | undefined>>;

/**
 * One request, and what comes of it. It takes from undici what that has read, without a stream for a body that has to be
 * whole before anybody looks at it.
 */
export class BufferedResponseHandler implements Dispatcher.DispatchHandler {
  /** Rejects with an `OutboundError`, also where undici cannot be stopped: while it connects. */
  readonly response: Promise<OutboundResponse>;
  readonly #bounds: RequestLimits;
  readonly #settle = Promise.withResolvers<OutboundResponse>();
  readonly #timer: NodeJS.Timeout;
  readonly #body: ResponseBody;
  #interimResponses = 0;
  #status = 0;
  #headers: RawHeaders = {};
  #controller: Dispatcher.DispatchController | undefined;
  #failure: OutboundError | undefined;

  constructor(bounds: RequestLimits) {
    this.#bounds = bounds;
    this.#body = new ResponseBody(bounds.maxBytes);
    this.response = this.#settle.promise;
    this.#timer = setTimeout(this.#timeOut, bounds.timeoutMs);
    for (const signal of bounds.signals) {
      signal?.addEventListener('abort', this.#giveUp, { once: true });
      if (signal?.aborted) this.#giveUp();
    }
  }

  /** Sends the request, if nobody has given it up by now. */
  start(agent: Dispatcher, request: Dispatcher.DispatchOptions): void {
    if (this.#failure) return;
    try {
      agent.dispatch(request, this);
    } catch (error) {
      this.#fail(error);
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#failure) controller.abort(this.#failure);
  }

  onResponseStart(_: unknown, status: number, headers: RawHeaders): void {
    this.#status = status;
    this.#headers = headers;
    if (status < 200) this.#interimResponses += 1;
    if (this.#interimResponses > maxInterimResponses) {
      this.#fail(
        new OutboundError('TOO_LARGE', `the host sent more than ${maxInterimResponses} interim responses`),
      );
    } else if (countHeaders(headers) > maxHeaders) {
      this.#fail(new OutboundError('TOO_LARGE', `the response has more than ${maxHeaders} headers`));
    }
  }

  onResponseData(_: unknown, piece: Buffer): void {
    if (this.#failure) return;
    try {
      this.#body.add(piece);
    } catch (error) {
      this.#fail(error);
    }
  }

  onResponseEnd(): void {
    if (this.#failure) return;
    try {
      const headers = flatten(this.#headers);
      const body = this.#body.text(headers['content-encoding']);
      this.#end();
      this.#settle.resolve({ status: this.#status, headers, body });
    } catch (error) {
      this.#fail(error);
    }
  }

  onResponseError(_: unknown, error: Error): void {
    this.#fail(error);
  }

  /** Only the first failure counts. */
  #fail(error: unknown): void {
    if (this.#failure) return;
    this.#end();
    this.#failure = toOutboundError(error);
    this.#settle.reject(this.#failure);
    this.#controller?.abort(this.#failure);
  }

  readonly #timeOut = () => {
    const what = this.#status >= 200 ? 'the response was not complete' : 'there was no response';
    this.#fail(new OutboundError('TIMEOUT', `${what} within ${this.#bounds.timeoutMs / 1000} s`));
  };

  readonly #giveUp = () => this.#fail(new OutboundError('ABORTED', 'the request was aborted'));

  #end(): void {
    clearTimeout(this.#timer);
    for (const signal of this.#bounds.signals) signal?.removeEventListener('abort', this.#giveUp);
  }
}

function countHeaders(headers: RawHeaders): number {
  return Object.values(headers).reduce(
    (count, value) => count + (Array.isArray(value) ? value.length : 1),
    0,
  );
}

/** A header that came several times is joined with commas. */
function flatten(headers: RawHeaders): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value !== undefined) flat[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return flat;
}
