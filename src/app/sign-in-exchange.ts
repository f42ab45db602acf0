import type { IncomingMessage, ServerResponse } from 'node:http';
import { codeMediaType, type SignInCodes } from '../auth/sign-in-codes.ts';
import { HttpError } from '../common/errors.ts';
import { formatCount } from '../common/format-count.ts';
import { isSameOrigin } from '../http/cross-site.ts';
import { sendText } from '../http/http-server.ts';
import { readJsonBody } from '../http/json-body.ts';

/** The body with a code has less than 100 bytes. */
const maxBodyBytes = 1_000;

/** Exchanges a one-time `code` for an `apiKey`, for pages of this server only. */
export async function handleCodeExchange(
  codes: SignInCodes,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'POST') {
    response.setHeader('allow', 'POST');
    return sendText(response, 405, 'Use POST.');
  }
  if (!isSameOrigin(request))
    return sendText(response, 403, 'Only pages of this server can exchange a code.');
  if (request.headers['content-type'] !== codeMediaType)
    return sendText(response, 415, `Send ${codeMediaType}.`);
  const code = await readCode(request);
  const key = code === undefined ? undefined : codes.exchange(code);
  const { retryAfter } = codes;
  if (!key && retryAfter !== undefined) {
    response.setHeader('retry-after', retryAfter);
    return sendText(
      response,
      429,
      `Too many wrong codes were sent. Wait ${formatCount(retryAfter, 'second')}.`,
    );
  }
  if (!key) return sendText(response, 403, 'The code is used, expired or unknown.');
  response
    .writeHead(200, { 'content-type': 'application/json; charset=utf-8' })
    .end(JSON.stringify({ apiKey: key.reveal() }));
}

/** @returns undefined if the body has no code */
async function readCode(request: IncomingMessage): Promise<string | undefined> {
  try {
    const options = { mediaType: codeMediaType, maxBytes: maxBodyBytes };
    const { code }: { code?: unknown } = await readJsonBody(request, options);
    return typeof code === 'string' ? code : undefined;
  } catch (error) {
    if (error instanceof HttpError) return undefined;
    throw error;
  }
}
