import type { BodyMask } from './secret-mask.ts';

/** The bytes of a rejection that are read. Okta's errors have about 200. */
const maxBytes = 4_096;

/** Masks the body of a response, and keeps its beginning to tell whether the app rejects the credentials. */
export class RejectionReader {
  readonly #mask: BodyMask;
  readonly #onEnd: (body: string) => void;
  #beginning = Buffer.alloc(0);

  constructor(mask: BodyMask, onEnd: (body: string) => void) {
    this.#mask = mask;
    this.#onEnd = onEnd;
  }

  push(chunk: Buffer): Buffer {
    if (this.#beginning.length < maxBytes)
      this.#beginning = Buffer.concat([
        this.#beginning,
        chunk.subarray(0, maxBytes - this.#beginning.length),
      ]);
    return this.#mask.push(chunk);
  }

  end(): Buffer {
    this.#onEnd(this.#beginning.toString());
    return this.#mask.end();
  }
}
