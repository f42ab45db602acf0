import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/**
 * Reads the body of a request as a stream that can be destroyed without its connection, over which the response is still to
 * be sent. What it has not read then stays unread.
 */
export function streamBody(request: IncomingMessage): Readable {
  let isWanted = false;
  const passOn = () => {
    const chunk: Buffer | null = isWanted ? request.read() : null;
    if (chunk === null) return;
    isWanted = false;
    body.push(chunk);
  };
  const end = () => body.push(null);
  const close = () => {
    if (!request.complete) body.destroy(new Error('The client disconnected.'));
  };
  const body = new Readable({
    read() {
      isWanted = true;
      passOn();
    },
    destroy(error, done) {
      request.off('readable', passOn).off('end', end).off('close', close);
      done(error);
    },
  });
  body.on('error', () => undefined);
  request.on('readable', passOn).once('end', end).once('close', close);
  return body;
}
