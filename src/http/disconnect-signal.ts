import type { ServerResponse } from 'node:http';

/** A signal that aborts when the client disconnects before the response is sent. */
export function createDisconnectSignal(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  if (response.destroyed) controller.abort();
  response.once('close', () => response.writableFinished || controller.abort());
  return controller.signal;
}
