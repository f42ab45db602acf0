import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex, Readable } from 'node:stream';

/** For how long the rest of a request is read, in milliseconds; shorter than a server that stops waits. */
const maxMs = 5_000;
/** How much of it is read, in bytes. */
const maxBytes = 32 * 1024 * 1024;
/** As how many bytes a piece counts besides its own: reading a chunk of one byte costs far more than a byte. */
const pieceBytes = 4 * 1024;
/** On how many connections at a time. */
const maxConnections = 64;

/**
 * The connections whose answer has gone out before the request has come whole. A connection that is closed with unread
 * bytes in it is reset, and a client that is still sending finds it broken in place of an answer. So the rest is read and
 * thrown away for a while, as nginx's lingering_close does: bounded in time, bytes and number, because it is work for
 * nothing.
 */
export class LingeringConnections {
  readonly #sockets = new Set<Duplex>();

  has(socket: Duplex): boolean {
    return this.#sockets.has(socket);
  }

  /** Reads the rest of a request if it is not there when its answer has been sent. */
  watch(request: IncomingMessage, response: ServerResponse): void {
    // Before Node's own listener, which closes the connection if the answer has said so.
    response.prependOnceListener('finish', () => {
      const { socket } = request;
      if (request.complete || socket.destroyed) return;
      const stop = this.#readOn(socket, request);
      if (!stop) return socket.destroySoon();
      let isToClose = false;
      socket.destroySoon = () => {
        isToClose = true;
        socket.end();
      };
      // Node would take the listeners off a request that nobody has begun to read.
      request.read(0);
      request.once('end', () => {
        stop();
        Reflect.deleteProperty(socket, 'destroySoon');
        if (isToClose) socket.destroySoon();
      });
    });
  }

  /** Reads what still comes over a connection that no parser reads any more, until the client ends it. */
  discard(socket: Duplex): void {
    socket.removeAllListeners('data');
    if (!this.#readOn(socket, socket)) socket.destroy();
    socket.once('end', () => socket.destroy());
  }

  /**
   * Reads what still comes over a connection, and destroys it at the bounds.
   *
   * @returns what stops the reading; undefined when there are too many such connections
   */
  #readOn(socket: Duplex, source: Readable): (() => void) | undefined {
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
