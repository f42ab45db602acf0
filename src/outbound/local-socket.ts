import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/**
 * Sends a text to a socket of the file system, and reads the answer to its end.
 *
 * @returns undefined if nothing listens there, and an empty text if the other side ended without an answer
 */
export async function askLocalSocket(path: string, request: string): Promise<string | undefined> {
  const socket = connect({ path, allowHalfOpen: true });
  const isConnected = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  if (!isConnected) return undefined;
  socket.end(request);
  return text(socket).catch(() => '');
}
