import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { controlSocketPath } from './control-client.ts';
import { describeStartupError } from './describe-error.ts';

/** Carries out a request of a command, and returns its result. */
export type ControlHandler = (request: unknown) => Promise<object>;

/** The longest time in which a command sends its whole request, in milliseconds. A server that stops waits for it. */
const requestTimeoutMs = 2_000;
/** Each takes a file descriptor, which the HTTP server needs too. */
const maxConnections = 16;
const maxRequestBytes = 65_536;

/**
 * Lets commands of this user reach a server that has the embedded database, which no other process can open. It is a socket of the file
 * system in a folder of its own, which only this user can enter: those who can reach it can also read the database and its keys.
 *
 * @returns undefined if the system has no such sockets, or the path is too long for one; commands then ask to stop the server
 */
export async function openControlSocket(
  dataDir: string,
  handle: ControlHandler,
  log: Logger,
): Promise<{ close(): Promise<void> } | undefined> {
  const path = controlSocketPath(dataDir);
  if (!path) return undefined;
  const running = new Set<Promise<void>>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const answering = answer(socket, handle).catch((error: unknown) => {
      log.warn({ error: safeErrorFields(error) }, 'a command could not be answered');
      socket.destroy();
    });
    running.add(answering);
    void answering.then(() => running.delete(answering));
  });
  server.maxConnections = maxConnections;
  try {
    rmSync(path.folder, { recursive: true, force: true });
    mkdirSync(path.folder, { mode: 0o700 });
    const listening = Promise.withResolvers<void>();
    server.once('error', listening.reject).listen(path.socket, listening.resolve);
    await listening.promise;
    chmodSync(path.socket, 0o600);
  } catch (error) {
    log.warn({ error: safeErrorFields(error) }, 'commands cannot reach this server');
    server.close();
    return undefined;
  }
  return {
    close: async () => {
      server.close();
      await Promise.all(running);
      rmSync(path.folder, { recursive: true, force: true });
    },
  };
}

/** Reads the request to its end, and answers with one line of JSON. */
async function answer(socket: Socket, handle: ControlHandler): Promise<void> {
  // A command that has ended does not read the answer.
  socket.on('error', () => undefined);
  // Not `socket.setTimeout`, which begins again with each byte.
  const timeout = setTimeout(() => socket.destroy(), requestTimeoutMs);
  let bytes = 0;
  socket.on('data', (piece) => {
    bytes += piece.length;
    if (bytes > maxRequestBytes) socket.destroy();
  });
  const sent = await text(socket).finally(() => clearTimeout(timeout));
  const request: unknown = JSON.parse(sent);
  const result = await handle(request).then(
    (value) => ({ result: value }),
    (error: unknown) => ({ error: describeStartupError(error) }),
  );
  socket.end(`${JSON.stringify(result)}\n`);
}
