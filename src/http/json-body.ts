import type { IncomingMessage } from 'node:http';
import { HttpError } from '../common/errors.ts';
import { PieceBuffer } from '../common/piece-buffer.ts';

/** The maximum size of a request body, in bytes. */
const maxBodyBytes = 100_000;

/** The maximum number of pieces: HTTP chunks or reads from the socket. Each costs far more time than a byte. */
const maxBodyPieces = 2_000;

/** How long the largest body may take: 40 kbit/s. */
const maxBodyMs = 20_000;

/** Whether a request has a body that is not empty, according to its headers. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** @throws HttpError (400) if the request has a body */
export function assertNoBody(request: IncomingMessage): undefined {
  if (!hasBody(request)) return;
  throw new HttpError(400, 'BAD_USER_INPUT', 'This route takes no body.', {
    remedy: 'Send the request without a body.',
  });
}

/** Differences from the defaults for bodies. */
export interface JsonBodyOptions {
  /** Default: `application/json`. */
  mediaType?: string;
  /** Default: 100,000. */
  maxBytes?: number;
}

/**
 * Reads the body of a request as a JSON object. Messages never quote the request.
 *
 * @throws HttpError (415) if the headers do not declare uncompressed JSON in UTF-8; (413) if the body is too large or has
 *   too many pieces; (408) if it is too slow; (400) if it is not a JSON object, or incomplete
 */
export async function readJsonBody(
  request: IncomingMessage,
  { mediaType = 'application/json', maxBytes = maxBodyBytes }: JsonBodyOptions = {},
): Promise<object> {
  assertMediaType(request, mediaType);
  const value = parseJson(await readBytes(request, maxBytes), mediaType);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  if (Array.isArray(value)) {
    throw invalidJson(
      'The body is an array; it must be one JSON object.',
      'Send one request at a time, and turn off batching in the client.',
    );
  }
  throw invalidJson('The body must be one JSON object.', 'Send a JSON object: { … }.');
}

const mediaTypeRemedy = (mediaType: string) =>
  `Send uncompressed JSON in UTF-8 with the header "Content-Type: ${mediaType}".`;
const knownCodings = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'zstd', 'compress']);

function assertMediaType({ headers }: IncomingMessage, mediaType: string): void {
  const unsupported = (message: string) =>
    new HttpError(415, 'BAD_USER_INPUT', message, {
      headers: { accept: mediaType },
      remedy: mediaTypeRemedy(mediaType),
    });
  const { 'content-type': contentType = '', 'content-encoding': encoding = '' } = headers;
  const [type = '', ...parameters] = contentType.split(';').map((part) => part.trim().toLowerCase());
  if (type === '') throw unsupported('The request has no Content-Type.');
  if (type !== mediaType) throw unsupported(`The Content-Type is not ${mediaType}.`);
  for (const parameter of parameters.filter(Boolean)) {
    const [, charset] = /^charset *= *"?([^"]*)"?$/.exec(parameter) ?? [];
    if (charset === undefined) throw unsupported('The Content-Type has a parameter other than charset.');
    // The WHATWG Encoding Standard has `utf8` as a label of UTF-8.
    if (charset !== 'utf-8' && charset !== 'utf8') {
      throw unsupported('The Content-Type has a charset other than UTF-8.');
    }
  }
  const coding = encoding.trim().toLowerCase();
  if (coding === '' || coding === 'identity') return;
  const codings = coding.split(',').map((coding) => coding.trim());
  // An unknown value is not repeated: it may be a secret in the wrong place.
  const areKnown = codings.every((coding) => knownCodings.has(coding));
  throw new HttpError(
    415,
    'BAD_USER_INPUT',
    areKnown
      ? `Compressed bodies are not supported (Content-Encoding: ${codings.join(', ')}).`
      : 'The Content-Encoding is unknown, and compressed bodies are not supported.',
    {
      // RFC 9110, 15.5.16: tells the client that the coding is at fault, and not the media type.
      headers: { 'accept-encoding': 'identity' },
      remedy:
        'Send the body uncompressed and without the header Content-Encoding. A charset belongs to Content-Type.',
    },
  );
}

async function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const incomplete = () => invalidJson('The body is incomplete.', 'Send the complete body again.');
  if (Number(request.headers['content-length']) > maxBytes) throw tooLarge(maxBytes);
  // The client disconnected during authentication; there will be no further event.
  if (request.destroyed && !request.complete) throw incomplete();
  // Not `for await`: leaving the loop early would destroy the connection before the response is sent.
  return new Promise((resolve, reject) => {
    const received = new PieceBuffer({ bytes: maxBytes, pieces: maxBodyPieces });
    const add = (piece: Buffer) => {
      const exceeded = received.add(piece);
      if (!exceeded) return;
      request.off('data', add);
      reject(exceeded === 'bytes' ? tooLarge(maxBytes) : tooManyPieces());
    };
    const timer = setTimeout(() => {
      request.off('data', add);
      reject(tooSlow());
    }, maxBodyMs);
    request.on('data', add);
    request.once('end', () => resolve(received.bytes));
    request.once('close', () => {
      clearTimeout(timer);
      if (!request.complete) reject(incomplete());
    });
  });
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function parseJson(bytes: Buffer, mediaType: string): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
    throw invalidJson(
      isGzip ? 'The body is compressed with gzip.' : 'The body is not JSON in UTF-8.',
      mediaTypeRemedy(mediaType),
    );
  }
}

function invalidJson(message: string, remedy: string): HttpError {
  return new HttpError(400, 'BAD_USER_INPUT', message, { remedy });
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(413, 'BAD_USER_INPUT', `The body is larger than ${maxBytes} bytes.`, {
    // The unread rest of the body prevents further requests on this connection.
    headers: { connection: 'close' },
    remedy: `Send at most ${maxBytes} bytes.`,
  });
}

function tooSlow(): HttpError {
  return new HttpError(408, 'BAD_USER_INPUT', `The body did not arrive within ${maxBodyMs / 1_000} s.`, {
    headers: { connection: 'close' },
    remedy: 'Send it again over a faster connection.',
  });
}

function tooManyPieces(): HttpError {
  return new HttpError(413, 'BAD_USER_INPUT', `The body has more than ${maxBodyPieces} chunks.`, {
    headers: { connection: 'close' },
    remedy: 'Send larger chunks, or send the header Content-Length.',
  });
}
