import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex, Readable } from 'node:stream';

/** The maximum time for which a connection lingers, in milliseconds; shorter than the drain time of a stopping server. */
const maxMs = 5_000;
/** The maximum number of bytes that are read from a lingering connection. */
const maxBytes = 32 * 1024 * 1024;
/** The bytes that each piece adds to its own: reading a chunk of one byte costs far more than one byte. */
const pieceBytes = 4 * 1024;
/** The maximum number of lingering connections. */
const maxConnections = 64;

/**
 * Connections on which the response was sent before the request was complete. Closing a connection with unread bytes
 * resets it, and a client that is still sending gets an error instead of the response. So the rest of the request is read
 * and discarded, like nginx's `lingering_close`, with limits on time, bytes and connections.
 */
export class LingeringConnections {
  readonly #sockets = new Set<Duplex>();

  has(socket: Duplex): boolean {
    return this.#sockets.has(socket);
  }

  /** Reads and discards the rest of a request if the response is sent first. */
  watch(request: IncomingMessage, response: ServerResponse): void {
    // Before Node's own listener, which closes the connection after a response with `Connection: close`.
    response.prependOnceListener('finish', () => {
      const { socket } = request;
      if (request.complete || socket.destroyed) return;
      const stop = this.#discardFrom(socket, request);
      if (!stop) return socket.destroySoon();
      let closeRequested = false;
      socket.destroySoon = () => {
        closeRequested = true;
        socket.end();
      };
      // Node removes the listeners of a request that has not been read.
      request.read(0);
      request.once('end', () => {
        stop();
        Reflect.deleteProperty(socket, 'destroySoon');
        if (closeRequested) socket.destroySoon();
      });
    });
  }

  /** Reads and discards bytes from a connection that has no parser any more, until the client ends it. */
  discard(socket: Duplex): void {
    socket.removeAllListeners('data');
    if (!this.#discardFrom(socket, socket)) socket.destroy();
    socket.once('end', () => socket.destroy());
  }

  /**
   * Reads and discards bytes from a connection, and destroys it at the limits.
   *
   * @returns a function that stops the reading; undefined if there are too many such connections
   */
  #discardFrom(socket: Duplex, source: Readable): (() => void) | undefined {
    if (this.#sockets.size >= maxConnections) return undefined;
    this.#sockets.add(socket);
    let bytes = 0;
    const count = (chunk: Buffer) => {
      bytes += chunk.byteLength + pieceBytes;
      if (bytes > maxBytes) socket.destroy();
    };
    const timer = setTimeout(() => socket.destroy(), maxMs);
    const stop = () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
      socket.off('close', stop);
    };
    source.on('data', count);
    socket.once('close', stop);
    return stop;
  }
}
