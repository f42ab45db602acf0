import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { OutboundError } from './outbound-error.ts';

/**
 * The maximum number of bytes from the host during the TLS handshake. Public hosts send 3 to 8 kB. OpenSSL accepts a
 * certificate chain of 100 kB and verifies every signature in it on the main thread, even if the authority is unknown; with
 * key exponents of 3,072 bits, this blocks the server for 250 ms per connection.
 */
const maxHandshakeBytes = 12 * 1024;

/**
 * Wraps a socket for TLS and passes on at most `maxHandshakeBytes` until `finish` is called. A limit on the socket itself
 * would see the bytes only after OpenSSL has processed them.
 */
export class HandshakeLimit extends Duplex {
  readonly #wire: Socket;
  #remaining = maxHandshakeBytes;

  constructor(wire: Socket) {
    super();
    this.#wire = wire;
    wire.on('data', (chunk: Buffer) => {
      this.#remaining -= chunk.length;
      if (this.#remaining < 0) {
        const clause = `the TLS handshake exceeds ${maxHandshakeBytes} bytes`;
        this.destroy(new OutboundError('TOO_LARGE', clause));
      } else if (!this.push(chunk)) wire.pause();
    });
    wire.once('end', () => this.push(null));
    wire.once('error', (error) => this.destroy(error));
    wire.once('close', () => this.destroy());
  }

  /** Ends the limit, after the handshake. */
  finish(): void {
    this.#remaining = Number.POSITIVE_INFINITY;
  }

  override _read(): void {
    this.#wire.resume();
  }

  override _write(chunk: Buffer, _: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#wire.write(chunk, callback);
  }

  override _final(callback: () => void): void {
    this.#wire.end(callback);
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#wire.destroy();
    callback(error);
  }
}
