/**
 * The process of the Okta stand-in (see okta-standin.ts): an Okta organisation with users, groups, applications and a System
 * Log, made from Okta's own API description, with pages by `Link` and rate limits for each token and bucket.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JournalEntry, StandInMessage } from './okta-standin.ts';
import { type Answer, answerAsOkta, fail } from './okta-standin-answers.ts';
import { Organisation } from './okta-standin-organisation.ts';

const organisation = new Organisation(250);
const journal: JournalEntry[] = [];
const revoked = new Set<string>();

/** The requests that each token may send to each bucket in a window. */
let limit = 600;
let windowMs = 60_000;
/** The windows by token and bucket. */
const windows = new Map<string, { count: number; resetAt: number }>();

/** The bucket of a path: Okta replaces ids of 20 characters. */
const bucketOf = (path: string) => path.replace(/\/[0-9A-Za-z]{20}(?=\/|$)/g, '/{id}');

/** Counts a request, and returns the headers of its rate limit. */
function count(
  token: string,
  path: string,
): { isLimited: boolean; resetAt: number; headers: Record<string, string> } {
  const key = `${token} ${bucketOf(path)}`;
  const known = windows.get(key);
  const now = Date.now();
  const window =
    known && known.resetAt > now ? known : { count: 0, resetAt: Math.ceil((now + windowMs) / 1_000) * 1_000 };
  window.count += 1;
  windows.set(key, window);
  return {
    isLimited: window.count > limit,
    resetAt: window.resetAt,
    headers: {
      'x-rate-limit-limit': String(limit),
      'x-rate-limit-remaining': String(Math.max(0, limit - window.count)),
      'x-rate-limit-reset': String(window.resetAt / 1_000),
    },
  };
}

/** Decides what Okta would answer. The organisation's well-known document needs no token and is not limited. */
function answer(
  { method = '', url: target = '', headers }: IncomingMessage,
  body: Buffer,
): Answer & { resetAt?: number } {
  const url = new URL(target, `http://${headers.host}`);
  const request = { method, url, authorization: headers.authorization, body };
  if (url.pathname.startsWith('/.well-known/')) return answerAsOkta(organisation, request);
  const token = /^SSWS (\S+)$/.exec(headers.authorization ?? '')?.[1];
  if (!token || revoked.has(token)) return fail('E0000011');
  const { isLimited, resetAt, headers: rateLimit } = count(token, url.pathname);
  const answered = isLimited ? fail('E0000047') : answerAsOkta(organisation, request);
  return { ...answered, headers: { ...rateLimit, ...answered.headers }, resetAt };
}

/** Answers a request. The status is 0 for one that is never answered. */
function serve(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
): Pick<JournalEntry, 'status' | 'resetAt'> {
  const { url = '' } = request;
  const [, bytes] = /^\/api\/v1\/stand-in\/bytes\/(\d+)$/.exec(url) ?? [];
  if (bytes !== undefined) {
    pour(response, Number(bytes));
    return { status: 200 };
  }
  if (url === '/api/v1/stand-in/silence') return { status: 0 };
  const { status, content, headers, resetAt } = answer(request, body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'x-okta-request-id': 'aPBIVl_a-Xrm_Tq-OWMq4gAAABc',
    'set-cookie': ['sid=""; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'JSESSIONID=0123456789; Path=/'],
    'strict-transport-security': 'max-age=315360000; includeSubDomains',
    ...headers,
  });
  const json = content === undefined ? '' : JSON.stringify(content);
  response.end(json.replaceAll('https://{yourOktaDomain}', `http://${request.headers.host}`));
  return { status, resetAt };
}

/** Sends so many bytes as fast as they are read. */
function pour(response: ServerResponse, bytes: number): void {
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes });
  const chunk = Buffer.alloc(64 * 1024, 'abcdefgh');
  let left = bytes;
  const write = () => {
    while (left > 0) {
      const part = chunk.subarray(0, Math.min(left, chunk.length));
      left -= part.length;
      if (!response.write(part)) return;
    }
    response.end();
  };
  response.on('drain', write);
  write();
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    const { method = '', url = '', rawHeaders: headers } = request;
    journal.push({ method, url, headers, body: body.toString('base64'), ...serve(request, response, body) });
  });
});

process.on('message', (message: StandInMessage) => {
  if (message.limit !== undefined) {
    limit = message.limit;
    windowMs = (message.windowSeconds ?? 60) * 1_000;
    windows.clear();
  }
  if (message.revoke !== undefined) revoked.add(message.revoke);
  process.send?.({ journal: message.isJournalWanted ? journal.splice(0) : [] });
});
process.once('disconnect', () => process.exit());

server.listen(0, '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
