import { connect } from 'node:net';

/** The bytes received over a connection, with the first response parsed. */
export interface RawResponse {
  status: number | undefined;
  /** Names in lower case. */
  headers: Headers;
  text: string;
}

/**
 * Sends bytes that no client would send over a connection of their own, and gives what has come back when the server
 * has ended it: have the request say `Connection: close` where the server would otherwise wait for the next.
 *
 * @param isAll whether to tell the server that nothing follows; it then drops what it has not answered yet
 */
export async function sendRaw(
  url: string,
  bytes: string | Buffer,
  { isAll = false } = {},
): Promise<RawResponse> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  await new Promise<void>((resolve) => {
    // However it ends, what had come until then is what counts.
    socket.once('error', () => {}).once('close', () => resolve());
    if (isAll) socket.end(bytes);
    else socket.write(bytes);
  });
  const text = Buffer.concat(chunks).toString();
  const [head = ''] = text.split('\r\n\r\n', 1);
  const [first = '', ...lines] = head.split('\r\n');
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1];
  return {
    status: status === undefined ? undefined : Number(status),
    headers: new Headers(
      lines.map((line): [string, string] => [line.replace(/:.*/s, ''), line.replace(/^[^:]*: ?/s, '')]),
    ),
    text,
  };
}
