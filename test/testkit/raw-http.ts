import { connect } from 'node:net';

/** The bytes received over a connection, with the first response parsed. */
export interface RawResponse {
  status: number | undefined;
  /** Names in lower case. */
  headers: Headers;
  text: string;
}

/**
 * Sends raw bytes over a new connection, and returns the response when the server closes the connection. The request
 * needs `Connection: close` where the server would otherwise keep the connection open.
 *
 * @param isAll whether to close the sending side; the server then drops requests that it has not answered
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
    // The response counts even when the connection ends with an error.
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
