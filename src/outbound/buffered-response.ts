import type { Dispatcher } from 'undici';
import { toOutboundError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';
import { ResponseBody } from './response-body.ts';
import { type Deadline, startDeadline } from './timeout.ts';

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
  readonly #deadline: Deadline;
  readonly #timeoutMs: number;
  readonly #body: ResponseBody;
  #interimResponses = 0;
  #status = 0;
  #headers: RawHeaders = {};
  #controller: Dispatcher.DispatchController | undefined;
  #failure: OutboundError | undefined;

  constructor({ timeoutMs, maxBytes, signals }: RequestLimits) {
    this.#timeoutMs = timeoutMs;
    this.#body = new ResponseBody(maxBytes);
    this.response = this.#deferred.promise;
    this.#deadline = startDeadline(timeoutMs, signals);
    const { signal } = this.#deadline;
    signal.addEventListener('abort', () => this.#fail(signal.reason), { once: true });
    if (signal.aborted) this.#fail(signal.reason);
  }

  /** Sends the request unless it was aborted before. */
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
    else this.#deadline.message = `the response was not complete within ${this.#timeoutMs / 1000} s`;
    const excess = findHeaderExcess(this.#interimResponses, headers);
    if (excess) this.#fail(new OutboundError('TOO_LARGE', excess));
  }

  onResponseData(_: unknown, chunk: Buffer): void {
    if (this.#failure) return;
    try {
      this.#body.add(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  onResponseEnd(): void {
    if (this.#failure) return;
    try {
      const headers = flatten(this.#headers);
      const body = this.#body.text(headers['content-encoding']);
      this.#deadline[Symbol.dispose]();
      this.#deferred.resolve({ status: this.#status, headers, body });
    } catch (error) {
      this.#fail(error);
    }
  }

  onResponseError(_: unknown, error: Error): void {
    this.#fail(error);
  }

  /** Ends the request; later failures are ignored. */
  #fail(error: unknown): void {
    if (this.#failure) return;
    this.#deadline[Symbol.dispose]();
    this.#failure = toOutboundError(error);
    this.#deferred.reject(this.#failure);
    this.#controller?.abort(this.#failure);
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
