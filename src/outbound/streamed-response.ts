import type { Dispatcher } from 'undici';
import { findHeaderExcess, type RawHeaders } from './buffered-response.ts';
import { Exchange } from './exchange.ts';
import { OutboundError } from './outbound-error.ts';
import { StreamedBody } from './streamed-body.ts';

/** The bytes of small chunks that are passed on together. */
const batchBytes = 64 * 1024;

/** For each of so many bytes, a response may have another chunk, another read and another line. */
export const bytesPerPiece = 256;

/** The chunks that a response of any size may have. */
const maxPieces = 1_000;

/** The limits of a streamed exchange. */
export interface StreamLimits {
  maxRequestBytes: number;
  maxResponseBytes: number;
  /** The longest time without a byte in either direction, also if the reader of the response is slow. */
  idleTimeoutMs: number;
  /** The time limit of the whole exchange. */
  timeoutMs: number;
}

/** A response whose body has not been read yet. Redirects are not followed. */
export interface StreamedResponse {
  status: number;
  /** Names in lower case. */
  headers: Readonly<Record<string, string | readonly string[]>>;
  /** Fails with an `OutboundError`. It has to be read to its end or destroyed, which ends the exchange. */
  body: StreamedBody;
  /** The bytes of the bodies so far. */
  transferred: Readonly<TransferredBytes>;
}

/** The bytes of the bodies of an exchange. */
export interface TransferredBytes {
  /** Of the request, as far as it was written to the connection. */
  sent: number;
  /** Of the response, as far as it was read from the connection. */
  received: number;
}

/** Changes the body of a response before anything reads it. */
export interface BodyTransform {
  /** Returns the bytes to pass on, which may be none. */
  push(chunk: Buffer): Buffer;
  /** Returns the rest. */
  end(): Buffer;
}

/** Options of a streamed exchange. */
export interface StreamOptions {
  limits: StreamLimits;
  /** Called with the status of the response. */
  createTransform?: ((status: number) => BodyTransform) | undefined;
  /** Each of these aborts the exchange. */
  signals: readonly (AbortSignal | undefined)[];
  /** Called when the request is about to be written. */
  onSend?: (() => void) | undefined;
  /** Called once, when the exchange has ended in any way. */
  onEnd(): void;
}

/**
 * Sends one request and passes its response on as it arrives. Implements undici's handler, to have its own limits, and to
 * pass on the chunks of one read together.
 */
export class StreamedResponseHandler implements Dispatcher.DispatchHandler {
  /** Rejects with an `OutboundError`, also while undici connects, which cannot be aborted. */
  readonly response: Promise<StreamedResponse>;
  readonly #deferred = Promise.withResolvers<StreamedResponse>();
  readonly #limits: StreamLimits;
  readonly #exchange: Exchange;
  readonly #idle: NodeJS.Timeout;
  readonly #onEnd: () => void;
  readonly #createTransform: StreamOptions['createTransform'];
  #transform: BodyTransform | undefined;
  readonly #body: StreamedBody;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  readonly #transferred: TransferredBytes = { sent: 0, received: 0 };
  #pieces = 0;
  #interimResponses = 0;
  #isHead = false;

  constructor({ limits, createTransform, signals, onSend, onEnd }: StreamOptions) {
    this.#limits = limits;
    this.#createTransform = createTransform;
    this.#onEnd = onEnd;
    this.response = this.#deferred.promise;
    this.#body = new StreamedBody({
      resume: () => {
        if (this.#exchange.hasEnded) return;
        this.#idle.refresh();
        this.#exchange.controller?.resume();
      },
      abort: () => this.#exchange.fail(new OutboundError('ABORTED', 'the request was aborted')),
    });
    const idleSeconds = limits.idleTimeoutMs / 1_000;
    this.#idle = setTimeout(() => {
      const [reason, what] = this.#exchange.controller?.paused
        ? (['UNREAD', 'the client read nothing'] as const)
        : (['TIMEOUT', 'the host sent nothing'] as const);
      this.#exchange.fail(new OutboundError(reason, `${what} for ${idleSeconds} s`));
    }, limits.idleTimeoutMs);
    this.#exchange = new Exchange({
      timeoutMs: limits.timeoutMs,
      signals,
      onSend,
      onFailure: (failure) => {
        this.#end();
        this.#deferred.reject(failure);
        this.#body.destroy(failure);
      },
    });
  }

  /** Sends the request unless it was aborted before. */
  start(agent: Dispatcher, request: Dispatcher.DispatchOptions): void {
    this.#isHead = request.method === 'HEAD';
    this.#exchange.start(agent, request, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#exchange.onRequestStart(controller);
  }

  onBodySent(chunk: Buffer): void {
    this.#idle.refresh();
    this.#transferred.sent += chunk.byteLength;
    const { maxRequestBytes } = this.#limits;
    if (this.#transferred.sent > maxRequestBytes) this.#exchange.fail(requestTooLarge(maxRequestBytes));
  }

  onResponseStart(_: unknown, status: number, headers: RawHeaders): void {
    if (this.#exchange.hasFailed) return;
    this.#idle.refresh();
    if (status < 200) this.#interimResponses += 1;
    // The headers of a response to HEAD describe a body that does not follow.
    const announcedBytes = this.#isHead ? 0 : Number(headers['content-length'] ?? 0);
    const excess = findHeaderExcess(this.#interimResponses, headers) ?? this.#findExcess(announcedBytes);
    if (excess) this.#exchange.fail(new OutboundError('TOO_LARGE', excess));
    if (excess || status < 200) return;
    this.#exchange.onResponseStart();
    this.#transform = this.#createTransform?.(status);
    this.#deferred.resolve({
      status,
      // undici's type has `undefined`, its parser does not.
      headers: headers as StreamedResponse['headers'],
      body: this.#body,
      transferred: this.#transferred,
    });
  }

  /** Returns which limit the body exceeds. */
  #findExcess(bytes: number): string | undefined {
    const { maxResponseBytes } = this.#limits;
    if (bytes > maxResponseBytes) return `the response is larger than ${maxResponseBytes} bytes`;
    if (this.#pieces > maxPieces + this.#transferred.received / bytesPerPiece)
      return `the response has more than ${this.#pieces - 1} chunks`;
    return undefined;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#exchange.hasFailed) return;
    this.#idle.refresh();
    this.#transferred.received += chunk.byteLength;
    this.#pieces += 1;
    const excess = this.#findExcess(this.#transferred.received);
    if (excess) {
      this.#exchange.fail(new OutboundError('TOO_LARGE', excess));
      return;
    }
    // undici calls this for every chunk of a read before anything else runs.
    if (this.#waiting.length === 0) queueMicrotask(() => this.#passOn(controller));
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.byteLength;
    if (this.#waitingBytes >= batchBytes) this.#passOn(controller);
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#exchange.hasFailed) return;
    this.#passOn(controller);
    const rest = this.#transform?.end();
    if (rest?.length) this.#body.push(rest);
    this.#exchange.end();
    this.#end();
    this.#body.end();
  }

  onResponseError(_: unknown, error: Error): void {
    this.#exchange.fail(error);
  }

  #passOn(controller: Dispatcher.DispatchController): void {
    const [first] = this.#waiting;
    if (!first || this.#exchange.hasEnded) return;
    const bytes = this.#waiting.length === 1 ? first : joinChunks(first, this.#waiting, this.#waitingBytes);
    this.#waiting = [];
    this.#waitingBytes = 0;
    const passed = this.#transform ? this.#transform.push(bytes) : bytes;
    if (passed.length > 0 && !this.#body.push(passed)) controller.pause();
  }

  #end(): void {
    clearTimeout(this.#idle);
    this.#onEnd();
  }
}

/** Joins the chunks of one read. Without a transfer coding they are next to each other in memory, and need no copy. */
function joinChunks(first: Buffer, all: readonly Buffer[], length: number): Buffer {
  let end = first.byteOffset;
  for (const { buffer, byteOffset, byteLength } of all) {
    if (buffer !== first.buffer || byteOffset !== end) return Buffer.concat(all, length);
    end += byteLength;
  }
  return Buffer.from(first.buffer, first.byteOffset, length);
}

/** The error for a body that is larger than the limit. */
export function requestTooLarge(maxBytes: number): OutboundError {
  return new OutboundError('REQUEST_TOO_LARGE', `the request is larger than ${maxBytes} bytes`);
}
