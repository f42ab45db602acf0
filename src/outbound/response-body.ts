import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, type ZlibOptions } from 'node:zlib';
import { OutboundError } from './outbound-error.ts';

/**
 * The most pieces in which a body may come. A piece costs about as much as a hundred bytes, so that a body of one-byte
 * pieces costs far more than its size says.
 */
export const maxPieces = 1_000;

const utf8 = new TextDecoder();

/** Collects a body in one buffer: a list of small pieces would hold far more memory than the body has bytes. */
export class ResponseBody {
  readonly #maxBytes: number;
  #bytes = Buffer.alloc(0);
  #size = 0;
  #pieces = 0;

  /** @param maxBytes of the body as it comes, and once more as it is decompressed */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @throws OutboundError `TOO_LARGE` */
  add(piece: Buffer): void {
    this.#pieces += 1;
    const size = this.#size + piece.length;
    if (size > this.#maxBytes) throw tooLarge(this.#maxBytes);
    if (this.#pieces > maxPieces) {
      throw new OutboundError('TOO_LARGE', `the answer comes in more than ${maxPieces} pieces`);
    }
    if (size > this.#bytes.length) this.#grow(size);
    // A piece is a view of the memory that was read into, which would stay for as long as the piece does.
    piece.copy(this.#bytes, this.#size);
    this.#size = size;
  }

  /**
   * The body as text, decompressed if need be.
   *
   * @param encoding the `Content-Encoding` header, if there is one
   * @throws OutboundError `TOO_LARGE` or `PROTOCOL`
   */
  text(encoding: string | undefined): string {
    return utf8.decode(this.#decompress(encoding?.trim().toLowerCase() ?? ''));
  }

  #grow(size: number): void {
    const bytes = Buffer.alloc(Math.min(this.#maxBytes, Math.max(2 * this.#bytes.length, size, 4_096)));
    this.#bytes.copy(bytes, 0, 0, this.#size);
    this.#bytes = bytes;
  }

  #decompress(encoding: string): Buffer {
    const body = this.#bytes.subarray(0, this.#size);
    if (encoding === '' || encoding === 'identity' || body.length === 0) return body;
    const decompress = decompressors[encoding];
    if (!decompress)
      throw new OutboundError('PROTOCOL', 'the answer is compressed in a way that is not known');
    try {
      return decompress(body, { maxOutputLength: this.#maxBytes });
    } catch (error) {
      if (error instanceof RangeError) throw tooLarge(this.#maxBytes);
      throw new OutboundError('PROTOCOL', 'the answer is not compressed as it says');
    }
  }
}

/** Of one coding each: a list of codings is a bomb, or a mistake. */
const decompressors: Readonly<Record<string, (body: Buffer, options: ZlibOptions) => Buffer>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  // RFC 9110, section 8.4.1.2: some send it without the zlib header, which has 8 in its low bits.
  deflate: (body, options) => ((body[0] ?? 0) % 16 === 8 ? inflateSync : inflateRawSync)(body, options),
  br: (body, { maxOutputLength }) => brotliDecompressSync(body, { maxOutputLength }),
};

function tooLarge(maxBytes: number): OutboundError {
  return new OutboundError('TOO_LARGE', `the answer is larger than ${maxBytes} bytes`);
}
