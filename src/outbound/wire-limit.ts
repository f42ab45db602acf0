import type { Socket } from 'node:net';
import { OutboundError } from './outbound-error.ts';

/** The maximum number of reads for one response, against hosts that send byte by byte. */
const maxReads = 1_000;

/**
 * The maximum number of lines of a response: headers, trailers and chunk sizes. undici limits only the bytes of headers, and
 * parses all of the input first: 64 kB of the shortest headers took 46 ms.
 */
const maxLines = 3_000;

/** The number of bytes that the HTTP parser gets at a time. */
const parserBytes = 8 * 1024;

/** How often to check a connection without readable data: TLS has records without data. */
const checkEveryMs = 100;

/** The limits of a response on the wire. */
export interface WireLimits {
  maxBytes: number;
  /**
   * For each of so many bytes, a response may have another read and another line beyond `maxReads` and `maxLines`. Absent:
   * none.
   */
  bytesPerPiece?: number;
}

/**
 * Destroys a connection that receives too much for one request: headers, chunk extensions, interim responses, padding or
 * TLS records without data, which HTTP parsers do not count.
 *
 * @param socket the socket of the response, above TLS
 * @param wire the same socket, or the one below TLS
 */
export function limitWire(
  socket: Socket,
  wire: Socket,
  { maxBytes, bytesPerPiece = Number.POSITIVE_INFINITY }: WireLimits,
): void {
  let sent = 0;
  let seen = wire.bytesRead;
  let start = seen;
  let reads = 0;
  let lines = 0;
  /** Adds what the bytes received so far allow to a limit. */
  const extended = (max: number) => max + Math.floor((seen - start) / bytesPerPiece);
  const check = () => {
    // Another request was sent, so the next bytes are another response.
    if (socket.bytesWritten !== sent) {
      sent = socket.bytesWritten;
      start = seen;
      reads = 0;
      lines = 0;
    }
    seen = wire.bytesRead;
    if (seen - start > maxBytes) {
      socket.destroy(new OutboundError('TOO_LARGE', `the response exceeds ${maxBytes} bytes on the wire`));
    } else if (reads > extended(maxReads)) {
      socket.destroy(
        new OutboundError('TOO_LARGE', `the response arrives in more than ${extended(maxReads)} pieces`),
      );
    }
  };
  socket.on('readable', () => {
    check();
    reads += 1;
  });
  const read = socket.read.bind(socket);
  // undici reads with this method and passes the result to its parser.
  socket.read = (size?: number): Buffer | null => {
    if (socket.destroyed) return null;
    const chunk: Buffer | null = read(size ?? (Math.min(socket.readableLength, parserBytes) || undefined));
    lines += countLines(chunk);
    if (lines <= extended(maxLines)) return chunk;
    socket.destroy(new OutboundError('TOO_LARGE', `the response has more than ${extended(maxLines)} lines`));
    return null;
  };
  const timer = setInterval(check, checkEveryMs).unref();
  socket.once('close', () => clearInterval(timer));
}

/** A line of HTTP ends with CR LF; JSON that is written in lines has LF alone. */
function countLines(chunk: Buffer | null): number {
  let count = 0;
  for (let at = chunk?.indexOf('\r\n') ?? -1; at >= 0; at = chunk?.indexOf('\r\n', at + 2) ?? -1) count += 1;
  return count;
}
