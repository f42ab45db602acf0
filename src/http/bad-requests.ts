import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** The headers that a request may have once. Of several, Node takes the first, and what is in front of it perhaps the last. */
const onlyOnce = [
  ...['Host', 'Authorization', 'Content-Type', 'Content-Encoding', 'Idempotency-Key', 'Origin'],
  ...['Sec-Fetch-Site', 'Access-Control-Request-Method'],
];

/**
 * What is wrong with the headers of a request, if anything is: whoever reads them after us, or before, must not be able to
 * take it for a request to or by somebody else.
 */
export function findHeaderDefect({ headersDistinct, httpVersion }: IncomingMessage): string | undefined {
  const repeated = onlyOnce.find((name) => (headersDistinct[name.toLowerCase()]?.length ?? 0) > 1);
  if (repeated) return `There is more than one ${repeated} header. Send one.`;
  const [host] = headersDistinct.host ?? [];
  // As load balancers ask that have not been told a name.
  if (host === undefined) return httpVersion === '1.0' ? undefined : 'There is no Host header.';
  return isHost(host) ? undefined : 'The Host header is not a name or an address, perhaps with a port.';
}

function isHost(text: string): boolean {
  return /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i.test(text) && URL.canParse(`http://${text}`);
}

/**
 * Answers what Node's parser does not take for HTTP, and ends the connection: nobody knows where a next request
 * would begin.
 *
 * @param pending the requests on this connection whose answers have not ended
 * @param discard called when the answer has gone out and more of the request may come
 * @returns the status that was answered, if any was
 */
export function refuseMalformed(
  error: NodeJS.ErrnoException,
  socket: Duplex,
  headers: Readonly<Record<string, string>>,
  pending: readonly ServerResponse[],
  discard: () => void,
): number | undefined {
  const status = statusForCode(error.code);
  // An answer here would be taken for that to the request before, or for a part of it.
  const isExpected = pending.every(({ headersSent, req }) => !headersSent && !req.complete);
  if (!status || !isExpected || !socket.writable) {
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
    // Who has been too slow is not waited for again.
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
      // What is wrong with the connection itself cannot be answered over it.
      return code.startsWith('HPE_') ? 400 : undefined;
  }
}
