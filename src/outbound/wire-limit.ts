import type { Socket } from 'node:net';
import { OutboundError } from './outbound-error.ts';

/** The most times that one answer may be read from: hosts that send byte by byte are cut off. */
export const maxReads = 1_000;

/**
 * The most lines of an answer: headers, trailers, and the lines around chunks. undici limits the bytes of headers alone, and
 * goes on to the end of what it was given: 64 kB of the shortest headers took it 46 ms.
 */
export const maxLines = 3_000;

/** How many bytes the HTTP parser is given at a time. */
const parserBytes = 8 * 1024;

/** How often a connection is looked at that gives nothing to read: TLS has records that carry no data. */
const checkEveryMs = 100;

/**
 * Ends a connection over which more comes for one request than an answer may cost, whatever it is made of: headers,
 * chunk extensions, interim responses, padding, records without data. HTTP parsers count none of these.
 *
 * @param socket what the answer is read from, with TLS taken off
 * @param wire the same, or what is below TLS
 * @param maxBytes of what comes over the wire for one request
 */
export function limitWireBytes(socket: Socket, wire: Socket, maxBytes: number): void {
  let sent = 0;
  let seen = wire.bytesRead;
  let start = seen;
  let reads = 0;
  let lines = 0;
  const check = () => {
    // A request has gone out since: what comes from now on is another answer.
    if (socket.bytesWritten !== sent) {
      sent = socket.bytesWritten;
      start = seen;
      reads = 0;
      lines = 0;
    }
    seen = wire.bytesRead;
    if (seen - start > maxBytes) {
      socket.destroy(new OutboundError('TOO_LARGE', `the response exceeds ${maxBytes} bytes on the wire`));
    } else if (reads > maxReads) {
      socket.destroy(new OutboundError('TOO_LARGE', `the response arrives in more than ${maxReads} pieces`));
    }
  };
  socket.on('readable', () => {
    check();
    reads += 1;
  });
  const read = socket.read.bind(socket);
  // With this, undici takes what it hands to its parser.
  socket.read = (size?: number): Buffer | null => {
    if (socket.destroyed) return null;
    const piece: Buffer | null = read(size ?? (Math.min(socket.readableLength, parserBytes) || undefined));
    lines += countLines(piece);
    if (lines <= maxLines) return piece;
    socket.destroy(new OutboundError('TOO_LARGE', `the response has more than ${maxLines} lines`));
    return null;
  };
  const timer = setInterval(check, checkEveryMs).unref();
  socket.once('close', () => clearInterval(timer));
}

/** A line of HTTP ends with CR LF; JSON that is written in lines has LF alone. */
function countLines(piece: Buffer | null): number {
  let count = 0;
  for (let at = piece?.indexOf('\r\n') ?? -1; at >= 0; at = piece?.indexOf('\r\n', at + 2) ?? -1) count += 1;
  return count;
}
