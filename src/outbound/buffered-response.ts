import type { Dispatcher } from 'undici';
import { Exchange } from './exchange.ts';
import { OutboundError } from './outbound-error.ts';
import { ResponseBody } from './response-body.ts';

/** The maximum number of headers of a response. Okta sends about 30. */
const maxHeaders = 200;

/** The maximum number of interim responses (status 1xx); a host could send them endlessly. */
const maxInterimResponses = 8;

/** A complete response with any status. Redirects are not followed. */
export interface OutboundResponse {
  status: number;
  /** Names in lower case; the values of a repeated header are joined with commas. */
  headers: Readonly<Record<string, string>>;
  body: string;
}

/** The limits of one request. */
export interface RequestLimits {
  timeoutMs: number;
  maxBytes: number;
  /** Each of these aborts the request. */
  signals: readonly (AbortSignal | undefined)[];
  /** Called when the request is about to be written. */
  onSend?: (() => void) | undefined;
  /** Whether a response is complete with its headers. Its body is read, so that the connection can be used again, and not kept. */
  ignoresBody?: boolean | undefined;
}

/** The headers of a response as undici passes them on. */
export type RawHeaders = Readonly<Record<string, string | string[] | undefined>>;

/**
 * Sends one request and buffers its response. It implements undici's handler instead of using a stream, because the body
 * is used only as a whole.
 */
export class BufferedResponseHandler implements Dispatcher.DispatchHandler {
  /** Rejects with an `OutboundError`, also while undici connects, which cannot be aborted. */
  readonly response: Promise<OutboundResponse>;
  readonly #deferred = Promise.withResolvers<OutboundResponse>();
  readonly #exchange: Exchange;
  readonly #body: ResponseBody;
  #interimResponses = 0;
  #status = 0;
  #headers: RawHeaders = {};

  constructor({ timeoutMs, maxBytes, signals, onSend, ignoresBody }: RequestLimits) {
    this.#body = new ResponseBody(maxBytes);
    this.response = this.#deferred.promise;
    const onFailure = (failure: OutboundError) => {
      if (ignoresBody && this.#status >= 200) this.#resolve('');
      else this.#deferred.reject(failure);
    };
    this.#exchange = new Exchange({ timeoutMs, signals, onSend, onFailure });
  }

  /** Sends the request unless it was aborted before. */
  start(agent: Dispatcher, request: Dispatcher.DispatchOptions): void {
    this.#exchange.start(agent, request, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#exchange.onRequestStart(controller);
  }

  onResponseStart(_: unknown, status: number, headers: RawHeaders): void {
    this.#status = status;
    this.#headers = headers;
    if (status < 200) this.#interimResponses += 1;
    else this.#exchange.onResponseStart();
    const excess = findHeaderExcess(this.#interimResponses, headers);
    if (excess) this.#exchange.fail(new OutboundError('TOO_LARGE', excess));
  }

  onResponseData(_: unknown, chunk: Buffer): void {
    if (this.#exchange.hasFailed) return;
    try {
      this.#body.add(chunk);
    } catch (error) {
      this.#exchange.fail(error);
    }
  }

  onResponseEnd(): void {
    if (this.#exchange.hasFailed) return;
    try {
      const body = this.#body.text(flatten(this.#headers)['content-encoding']);
      this.#exchange.end();
      this.#resolve(body);
    } catch (error) {
      this.#exchange.fail(error);
    }
  }

  onResponseError(_: unknown, error: Error): void {
    this.#exchange.fail(error);
  }

  #resolve(body: string): void {
    this.#deferred.resolve({ status: this.#status, headers: flatten(this.#headers), body });
  }
}

/** Returns which limit the headers of a response and the interim responses before it exceed. */
export function findHeaderExcess(interimResponses: number, headers: RawHeaders): string | undefined {
  if (interimResponses > maxInterimResponses)
    return `the host sent more than ${maxInterimResponses} interim responses`;
  if (countHeaders(headers) > maxHeaders) return `the response has more than ${maxHeaders} headers`;
  return undefined;
}

/** Counts the headers of a response, repeated ones included. */
function countHeaders(headers: RawHeaders): number {
  return Object.values(headers).reduce(
    (count, value) => count + (Array.isArray(value) ? value.length : 1),
    0,
  );
}

/** Joins the values of repeated headers with commas. */
function flatten(headers: RawHeaders): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value !== undefined) flat[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return flat;
}
