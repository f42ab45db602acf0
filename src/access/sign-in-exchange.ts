import type { IncomingMessage, ServerResponse } from 'node:http';
import { isSameOrigin } from '../http/cross-site.ts';
import { reply } from '../http/listener.ts';
import type { SignInCodes } from './sign-in-codes.ts';

/** Where codes are exchanged, relative to the pages that do it, so that it works under whatever path they are. */
export const exchangePath = 'sign-in/exchange';
/** The media type of a code. No form can send it, so a page elsewhere would have to ask leave first, and gets none. */
export const codeMediaType = 'application/vnd.app-connections.sign-in-code+json';

/** A code takes less than 100 bytes. */
const maxBodyBytes = 1_000;

/** Answers `{ "code" }` with `{ "apiKey" }`, once, to a page of this server. */
export async function answerExchange(
  codes: SignInCodes,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'POST') {
    response.setHeader('allow', 'POST');
    return reply(response, 405, 'A code is exchanged with POST.');
  }
  if (!isSameOrigin(request)) return reply(response, 403, 'Only a page of this server may exchange a code.');
  if (request.headers['content-type'] !== codeMediaType)
    return reply(response, 415, `Send ${codeMediaType}.`);
  const code = await readCode(request);
  const key = code === undefined ? undefined : codes.exchange(code);
  const { retryAfter } = codes;
  if (!key && retryAfter !== undefined) {
    response.setHeader('retry-after', retryAfter);
    return reply(response, 429, `Too many wrong codes were sent. Wait ${retryAfter} seconds.`);
  }
  if (!key) return reply(response, 403, 'This code was used, has expired, or is not one of this server.');
  response
    .writeHead(200, { 'content-type': 'application/json; charset=utf-8' })
    .end(JSON.stringify({ apiKey: key.reveal() }));
}

/** @returns undefined when the body holds no code */
async function readCode(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  await new Promise<void>((resolve) => {
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBodyBytes) chunks.push(chunk);
    });
    request.once('end', resolve).once('close', resolve);
  });
  if (bytes > maxBodyBytes) return undefined;
  try {
    const { code } = JSON.parse(Buffer.concat(chunks).toString()) as { code?: unknown };
    return typeof code === 'string' ? code : undefined;
  } catch {
    return undefined;
  }
}
