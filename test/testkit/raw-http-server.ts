import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import type { KeyPair } from './certificates.ts';

/** A host on 127.0.0.1 that responds with arbitrary bytes. */
export interface RawHttpServer {
  origin: string;
  /** `127.0.0.1:12345`, for the trusted hosts. */
  hostPort: string;
  port: number;
  /** Resolves when the client has closed the connection of the first request. */
  disconnected: Promise<void>;
  close(): Promise<void>;
}

/** A chunk that resets the connection. */
export const reset = Symbol('reset');

/** A chunk that ends the response and closes the connection. */
export const closeConnection = Symbol('hang up');

type ResponseChunk = string | Buffer | typeof reset | typeof closeConnection;

/** The chunks of the response to a request. */
export type ResponseChunks = (request: Buffer) => Iterable<ResponseChunk>;

/** Starts the host, which answers as soon as the first bytes of a request arrive. */
export async function startRawHttpServer(pieces: ResponseChunks, keys?: KeyPair): Promise<RawHttpServer> {
  const sockets = new Set<Socket>();
  const gone = Promise.withResolvers<void>();
  const serve = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    socket.once('data', (request: Buffer) => {
      socket.once('close', () => gone.resolve());
      pour(socket, pieces(request));
    });
  };
  const server = keys ? tls.createServer({ cert: keys.cert, key: keys.key }, serve) : net.createServer(serve);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the host has no port');
  const hostPort = `127.0.0.1:${address.port}`;
  return {
    origin: `${keys ? 'https' : 'http'}://${hostPort}`,
    hostPort,
    port: address.port,
    disconnected: gone.promise,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Writes as fast as the client reads, and leaves the connection open. */
async function pour(socket: Socket, pieces: Iterable<ResponseChunk>): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return;
    if (piece === reset) return void socket.resetAndDestroy();
    if (piece === closeConnection) return void socket.end();
    if (!socket.write(piece)) {
      await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined);
    }
  }
}

/** Yields the first chunk once, and the other one without end. */
export function* endlessly<T extends string | Buffer>(first: T, repeated: T): Generator<T> {
  yield first;
  for (;;) yield repeated;
}
