import type { IncomingMessage } from 'node:http';
import { HttpError } from '../common/errors.ts';
import { PieceBuffer } from '../common/piece-buffer.ts';

/** How many bytes the body of a request may have. */
const maxBodyBytes = 100_000;

/** In how many pieces it may come: chunks of HTTP's, or what is read at a time. */
const maxBodyPieces = 2_000;

/** Whether a request has a body of at least a byte, as far as its headers tell. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** @throws HttpError (400) when there is a body */
export function assertNoBody(request: IncomingMessage): undefined {
  if (!hasBody(request)) return;
  throw new HttpError(400, 'BAD_USER_INPUT', 'This route takes no body.', { remedy: 'Leave it out.' });
}

/** What a body has to be like, where it is not as usual. */
export interface JsonBodyOptions {
  /** `application/json` if absent. */
  mediaType?: string;
  /** 100,000 if absent. */
  maxBytes?: number;
}

/**
 * The JSON object that the body of a request holds. The messages repeat nothing of the request.
 *
 * @throws HttpError (415, 413, 400) when the body is not declared as plain JSON in UTF-8, has more bytes than
 *   it may have or comes in too many pieces, is no JSON object, or is cut off
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
      'The body is an array; it has to be one JSON object.',
      'Send each request by itself: a client that batches them has a setting that turns it off.',
    );
  }
  throw invalidJson('The body has to be one JSON object.', 'Send a JSON object: { … }.');
}

const sendAs = (mediaType: string) =>
  `Send JSON in UTF-8 with the header "Content-Type: ${mediaType}", and not compressed.`;
const knownCodings = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'zstd', 'compress']);

function assertMediaType({ headers }: IncomingMessage, mediaType: string): void {
  const unsupported = (message: string) =>
    new HttpError(415, 'BAD_USER_INPUT', message, {
      headers: { accept: mediaType },
      remedy: sendAs(mediaType),
    });
  const { 'content-type': contentType = '', 'content-encoding': encoding = '' } = headers;
  const [type = '', ...parameters] = contentType.split(';').map((part) => part.trim().toLowerCase());
  if (type === '') throw unsupported('The request has no Content-Type.');
  if (type !== mediaType) throw unsupported(`The Content-Type is not ${mediaType}.`);
  for (const parameter of parameters.filter(Boolean)) {
    const [, charset] = /^charset *= *"?([^"]*)"?$/.exec(parameter) ?? [];
    if (charset === undefined) throw unsupported('The Content-Type has a parameter other than charset.');
    // The WHATWG Encoding Standard has it as another label of UTF-8.
    if (charset !== 'utf-8' && charset !== 'utf8') {
      throw unsupported('The Content-Type names a charset other than UTF-8.');
    }
  }
  const coding = encoding.trim().toLowerCase();
  if (coding === '' || coding === 'identity') return;
  const codings = coding.split(',').map((each) => each.trim());
  const named = codings.every((each) => knownCodings.has(each));
  throw new HttpError(
    415,
    'BAD_USER_INPUT',
    named
      ? `The body is compressed (Content-Encoding: ${codings.join(', ')}); this server reads none that is.`
      : 'The header Content-Encoding names what this server does not know; it reads bodies that are not compressed.',
    {
      // RFC 9110, 15.5.16: how a client learns that the coding is at fault, and not the type.
      headers: { 'accept-encoding': 'identity' },
      remedy:
        'Send the body uncompressed, without the header Content-Encoding; a charset belongs to Content-Type.',
    },
  );
}

async function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const cutOff = () => invalidJson('The body is cut off.', 'Send it again, as a whole.');
  if (Number(request.headers['content-length']) > maxBytes) throw tooLarge(maxBytes);
  // The event is over: who signs in first may have hung up meanwhile.
  if (request.destroyed && !request.complete) throw cutOff();
  // Not `for await`, which would destroy the connection on leaving early, and the answer with it.
  return new Promise((resolve, reject) => {
    const received = new PieceBuffer({ bytes: maxBytes, pieces: maxBodyPieces });
    const add = (piece: Buffer) => {
      const exceeded = received.add(piece);
      if (!exceeded) return;
      request.off('data', add);
      reject(exceeded === 'bytes' ? tooLarge(maxBytes) : tooManyPieces());
    };
    request.on('data', add);
    request.once('end', () => resolve(received.bytes));
    request.once('close', () => request.complete || reject(cutOff()));
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
      sendAs(mediaType),
    );
  }
}

function invalidJson(message: string, remedy: string): HttpError {
  return new HttpError(400, 'BAD_USER_INPUT', message, { remedy });
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(413, 'BAD_USER_INPUT', `The body has more than ${maxBytes} bytes.`, {
    // What is left of the body stands in the way of another request.
    headers: { connection: 'close' },
    remedy: `Send at most ${maxBytes} bytes.`,
  });
}

function tooManyPieces(): HttpError {
  return new HttpError(413, 'BAD_USER_INPUT', `The body comes in more than ${maxBodyPieces} pieces.`, {
    headers: { connection: 'close' },
    remedy: 'Send it in larger chunks, or as a whole with the header Content-Length.',
  });
}
