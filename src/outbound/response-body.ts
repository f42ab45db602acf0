import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, type ZlibOptions } from 'node:zlib';
import { PieceBuffer } from '../common/piece-buffer.ts';
import { OutboundError } from './outbound-error.ts';

/** The most pieces in which a body may come. */
export const maxPieces = 1_000;

const utf8 = new TextDecoder();

/** The body of an answer, as it comes. */
export class ResponseBody {
  readonly #maxBytes: number;
  readonly #received: PieceBuffer;

  /** @param maxBytes of the body as it comes, and once more as it is decompressed */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#received = new PieceBuffer({ bytes: maxBytes, pieces: maxPieces });
  }

  /** @throws OutboundError `TOO_LARGE` */
  add(piece: Buffer): void {
    const exceeded = this.#received.add(piece);
    if (exceeded === 'bytes') throw tooLarge(this.#maxBytes);
    if (exceeded === 'pieces') {
      throw new OutboundError('TOO_LARGE', `the response has more than ${maxPieces} chunks`);
    }
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

/** Of one coding each: a list of codings is a bomb, or a mistake. */
const decompressors = new Map<string, (body: Buffer, options: ZlibOptions) => Buffer>([
  ['gzip', gunzipSync],
  ['x-gzip', gunzipSync],
  // RFC 9110, section 8.4.1.2: some send it without the zlib header, which has 8 in its low bits.
  ['deflate', (body, options) => ((body[0] ?? 0) % 16 === 8 ? inflateSync : inflateRawSync)(body, options)],
  ['br', (body, { maxOutputLength }) => brotliDecompressSync(body, { maxOutputLength })],
]);

function tooLarge(maxBytes: number): OutboundError {
  return new OutboundError('TOO_LARGE', `the response is larger than ${maxBytes} bytes`);
}
