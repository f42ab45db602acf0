import { Readable } from 'node:stream';

/** The longest body that is kept. Okta's objects as JSON have some kilobytes. */
const maxBytes = 64 * 1024;

/**
 * The body of a request that the app may refuse before it has an effect. It is sent as it arrives, and kept while it is short, so
 * that the request can be sent again.
 */
export class RepeatableBody {
  readonly #source: Readable;
  readonly #arriving: AsyncIterator<Buffer>;
  #arrival: Promise<boolean> | undefined;
  /** What has arrived; once it is too long to be kept, only what has not been sent. */
  #chunks: Buffer[] = [];
  #bytes = 0;
  #attempt: Readable | undefined;

  constructor(source: Readable) {
    this.#source = source;
    this.#arriving = source[Symbol.asyncIterator]();
  }

  /** Whether it is still known from its beginning. */
  get isRepeatable(): boolean {
    return this.#bytes <= maxBytes;
  }

  /** Opens it from its beginning, for one attempt. Destroying the result does not end the body. */
  open(): Readable {
    this.#attempt = Readable.from(this.#read(), { objectMode: false });
    return this.#attempt;
  }

  /** There is no further attempt: the body ends with the last one. */
  release(): void {
    const end = () => this.#source.destroy();
    if (this.#attempt?.closed) end();
    else this.#attempt?.once('close', end);
  }

  async *#read(): AsyncGenerator<Buffer> {
    let next = 0;
    while (true) {
      const chunk = this.#chunks[next];
      if (chunk) {
        next += 1;
        yield chunk;
      } else if (!(await this.#receive())) return;
      if (this.isRepeatable) continue;
      this.#chunks.splice(0, next);
      next = 0;
    }
  }

  /** Waits for a chunk, also for one that an earlier attempt waits for. Returns whether there was one. */
  #receive(): Promise<boolean> {
    this.#arrival ??= this.#arriving.next().then(({ done, value }) => {
      this.#arrival = undefined;
      if (done) return false;
      this.#bytes += value.length;
      this.#chunks.push(value);
      return true;
    });
    return this.#arrival;
  }
}
