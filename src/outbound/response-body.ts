import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, type ZlibOptions } from 'node:zlib';
import { PieceBuffer } from '../common/piece-buffer.ts';
import { OutboundError } from './outbound-error.ts';

/** The maximum number of chunks of a body. */
export const maxPieces = 1_000;

const utf8 = new TextDecoder();

/** Buffers the body of a response. */
export class ResponseBody {
  readonly #maxBytes: number;
  readonly #received: PieceBuffer;

  /** @param maxBytes the limit of the body as received, and again after decompression */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#received = new PieceBuffer({ bytes: maxBytes, pieces: maxPieces });
  }

  /** @throws OutboundError `TOO_LARGE` */
  add(chunk: Buffer): void {
    const exceeded = this.#received.add(chunk);
    if (exceeded === 'bytes') throw tooLarge(this.#maxBytes);
    if (exceeded === 'pieces') {
      throw new OutboundError('TOO_LARGE', `the response has more than ${maxPieces} chunks`);
    }
  }

  /**
   * Returns the body as text, decompressed if necessary.
   *
   * @param encoding the `Content-Encoding` header
   * @throws OutboundError `TOO_LARGE` or `PROTOCOL`
   */
  text(encoding: string | undefined): string {
    return utf8.decode(this.#decompress(encoding?.trim().toLowerCase() ?? ''));
  }

  #decompress(encoding: string): Buffer {
    const body = this.#received.bytes;
    if (encoding === '' || encoding === 'identity' || body.length === 0) return body;
    const decompress = decompressors.get(encoding);
    if (!decompress) throw new OutboundError('PROTOCOL', 'the response has an unknown Content-Encoding');
    try {
      return decompress(body, { maxOutputLength: this.#maxBytes });
    } catch (error) {
      if (error instanceof RangeError) throw tooLarge(this.#maxBytes);
      throw new OutboundError('PROTOCOL', 'the response body does not match its Content-Encoding');
    }
  }
}

/** One coding only: several codings on top of each other are a decompression bomb or a mistake. */
const decompressors = new Map<string, (body: Buffer, options: ZlibOptions) => Buffer>([
  ['gzip', gunzipSync],
  ['x-gzip', gunzipSync],
  // RFC 9110, section 8.4.1.2: some servers omit the zlib header, whose low bits are 8.
  ['deflate', (body, options) => ((body[0] ?? 0) % 16 === 8 ? inflateSync : inflateRawSync)(body, options)],
  ['br', (body, { maxOutputLength }) => brotliDecompressSync(body, { maxOutputLength })],
]);

function tooLarge(maxBytes: number): OutboundError {
  return new OutboundError('TOO_LARGE', `the response is larger than ${maxBytes} bytes`);
}
