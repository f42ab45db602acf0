import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { OutboundError } from './outbound-error.ts';

/**
 * The most bytes that a host may send while TLS is agreed on. What the public web sends has 3 to 8 kB. OpenSSL takes a
 * certificate chain of 100 kB and verifies every signature in it, also when no authority is known, in the thread that
 * serves all requests: of keys with exponents of 3,072 bits, that is a quarter of a second for each connection.
 */
export const maxHandshakeBytes = 12 * 1024;

/**
 * A connection for TLS to use, over which no more than `maxHandshakeBytes` come until `finish` is called. What is beyond
 * is not handed on: a limit that looks at the connection itself sees the bytes only after OpenSSL has worked on them.
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

  /** TLS is agreed on: what comes from now on is not counted here. */
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
