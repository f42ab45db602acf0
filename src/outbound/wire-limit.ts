import type { Socket } from 'node:net';
import { OutboundError } from './outbound-error.ts';

/** The most times that one answer may be read from: hosts that send byte by byte are cut off. */
export const maxReads = 1_000;

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
  const check = () => {
    // A request has gone out since: what comes from now on is another answer.
    if (socket.bytesWritten !== sent) {
      sent = socket.bytesWritten;
      start = seen;
      reads = 0;
    }
    seen = wire.bytesRead;
    if (seen - start > maxBytes) {
      socket.destroy(
        new OutboundError('TOO_LARGE', `the answer takes more than ${maxBytes} bytes on the wire`),
      );
    } else if (reads > maxReads) {
      socket.destroy(new OutboundError('TOO_LARGE', `the answer comes in more than ${maxReads} pieces`));
    }
  };
  socket.on('readable', () => {
    check();
    reads += 1;
  });
  const timer = setInterval(check, checkEveryMs).unref();
  socket.once('close', () => clearInterval(timer));
}
