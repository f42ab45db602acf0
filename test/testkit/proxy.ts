import { once } from 'node:events';
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import net, { type Socket } from 'node:net';

/** The response of the proxy to a CONNECT. */
export type ProxyBehaviour = (request: IncomingMessage, socket: Socket) => void;

/** A programmable HTTP proxy on 127.0.0.1. */
export interface TestProxy extends AsyncDisposable {
  host: string;
  port: number;
  /** Every CONNECT so far, the oldest first, with its target and its headers. */
  asked: readonly { target: string; headers: IncomingHttpHeaders }[];
  /** The number of connections so far, also of those without a request. */
  connections(): number;
  /** Sets the behaviour of further requests. */
  behave(behaviour: ProxyBehaviour): void;
}

/** Starts the proxy. */
export async function startProxy(behaviour: ProxyBehaviour): Promise<TestProxy> {
  const asked: { target: string; headers: IncomingHttpHeaders }[] = [];
  const sockets = new Set<Socket>();
  let current = behaviour;
  let connections = 0;
  const server = http.createServer((request, response) => {
    // Tests expect only CONNECT, so other requests are recorded too.
    asked.push({ target: `${request.method} ${request.url}`, headers: request.headers });
    response.writeHead(501).end();
  });
  server.on('connection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    asked.push({ target: request.url ?? '', headers: request.headers });
    current(request, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    host: '127.0.0.1',
    port: address.port,
    asked,
    connections: () => connections,
    behave(next) {
      current = next;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Connects every tunnel to a local port instead of its target. */
export function tunnelTo(port: number): ProxyBehaviour {
  return (_, socket) => {
    const there = net.connect(port, '127.0.0.1');
    there.on('error', () => socket.destroy());
    there.once('connect', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(there).pipe(socket);
    });
    socket.once('close', () => there.destroy());
  };
}

/** Sends these bytes and closes the connection. */
export function answeringWith(bytes: string): ProxyBehaviour {
  return (_, socket) => void socket.end(bytes);
}

/** Refuses with a status. */
export function refusing(status: number): ProxyBehaviour {
  return answeringWith(`HTTP/1.1 ${status} No\r\ncontent-length: 14\r\n\r\nproxy-planted\n`);
}

/** Accepts the request and never responds. */
export const silent: ProxyBehaviour = () => undefined;
