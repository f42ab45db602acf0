import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** Headers that may occur once. Of duplicates, Node uses the first; a proxy in front of it may use the last. */
const singleHeaders: ReadonlyMap<string, string> = new Map(
  [
    'Host',
    'Authorization',
    'Content-Type',
    'Content-Encoding',
    'Idempotency-Key',
    'Origin',
    'Sec-Fetch-Site',
    'Access-Control-Request-Method',
  ].map((name) => [name.toLowerCase(), name]),
);

/**
 * Finds headers that a proxy and this server could interpret differently, so that one of them takes the request for a
 * request to another host or by another client.
 *
 * @returns the text for the client; undefined if the headers are fine
 */
export function findHeaderDefect({
  rawHeaders,
  headers: { host, 'transfer-encoding': transferCodings = 'chunked' },
  httpVersion,
}: IncomingMessage): string | undefined {
  const repeated = findRepeated(rawHeaders);
  if (repeated) return `The ${repeated} header occurs more than once. Send it once.`;
  // Node accepts others, and leaves the body encoded.
  if (!/^\s*chunked\s*$/i.test(transferCodings))
    return 'The Transfer-Encoding header must be chunked. Encode the body with Content-Encoding, or not at all.';
  // Health checks of load balancers use HTTP/1.0 without Host.
  if (host === undefined) return httpVersion === '1.0' ? undefined : 'The Host header is missing.';
  return isHost(host)
    ? undefined
    : 'The Host header must be a host name or an IP address, optionally with a port.';
}

/** A loop, because this runs for every request. `headersDistinct` would make a list of each header. */
function findRepeated(rawHeaders: readonly string[]): string | undefined {
  const found: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = singleHeaders.get(rawHeaders[index]?.toLowerCase() ?? '');
    if (name && found.includes(name)) return name;
    if (name) found.push(name);
  }
  return undefined;
}

function isHost(text: string): boolean {
  return /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i.test(text) && URL.canParse(`http://${text}`);
}

/**
 * Responds to bytes that Node's parser rejects, and ends the connection, because the start of the next request is
 * unknown.
 *
 * @param pending the responses on this connection that have not ended
 * @param discard called after the response is sent, while the client may still be sending
 * @returns the status of the response; undefined if there was none
 */
export function refuseMalformed(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  headers: Readonly<Record<string, string>>,
  pending: readonly ServerResponse[],
  discard: () => void,
): number | undefined {
  const status = statusForCode(error.code);
  // After a complete request or a started response, the client would take this response for that of the earlier request.
  const canRespond = pending.every(({ headersSent, req }) => !headersSent && !req.complete);
  if (!status || !canRespond || !socket.writable) {
    socket.destroy();
    return undefined;
  }
  const lines = Object.entries({ ...headers, connection: 'close', 'content-length': '0' });
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      ...lines.map(([name, value]) => `${name}: ${value}`),
      '\r\n',
    ].join('\r\n'),
    // A client that timed out gets no more time.
    () => (status === 408 ? socket.destroy() : discard()),
  );
  return status;
}

function statusForCode(code = ''): number | undefined {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return 431;
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return 413;
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 408;
    default:
      // Other codes are failures of the connection itself, over which no response can be sent.
      return code.startsWith('HPE_') ? 400 : undefined;
  }
}
