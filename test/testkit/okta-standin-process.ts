/**
 * The process of the Okta stand-in (see okta-standin.ts): an Okta organisation with users, groups, applications and a System
 * Log, as Okta's API description says, with pages by `Link` and rate limits for each token and bucket.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { oktaError, respondAsOkta } from '../../src/apps/okta/fake-okta-responses.ts';
import type { JournalEntry, StandInMessage } from './okta-standin.ts';

const size = 250;
const id = (prefix: string, index: number) => `${prefix}${String(index).padStart(20 - prefix.length, '0')}`;
const created = (index: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, index)).toISOString();

/** The collections by path, with objects as in Okta's API description and Okta's default and largest page sizes. */
const collections = {
  '/api/v1/users': {
    defaultLimit: 200,
    maxLimit: 200,
    build: (index: number) => ({
      id: id('00u', index),
      status: 'ACTIVE',
      created: created(index),
      profile: { login: `user${index}@example.com`, firstName: 'User', lastName: `${index}` },
    }),
  },
  '/api/v1/groups': {
    defaultLimit: 10_000,
    maxLimit: 10_000,
    build: (index: number) => ({
      id: id('00g', index),
      type: 'OKTA_GROUP',
      created: created(index),
      profile: { name: `Group ${index}`, description: null },
    }),
  },
  '/api/v1/apps': {
    defaultLimit: 200,
    maxLimit: 200,
    build: (index: number) => ({
      id: id('0oa', index),
      name: 'oidc_client',
      label: `Application ${index}`,
      status: 'ACTIVE',
      created: created(index),
    }),
  },
  '/api/v1/logs': {
    defaultLimit: 100,
    maxLimit: 1_000,
    build: (index: number) => ({
      uuid: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
      published: created(index),
      eventType: 'user.session.start',
      severity: 'INFO',
    }),
  },
};

const journal: JournalEntry[] = [];
/** The requests that each token may send to each bucket, and those that it has sent. */
let limit = 600;
const used = new Map<string, number>();
const resetAt = new Date(Date.now() + 60_000);
const revoked = new Set<string>();

/** The bucket of a path: Okta replaces ids of 20 characters. */
const bucketOf = (path: string) => path.replace(/\/[0-9A-Za-z]{20}(?=\/|$)/g, '/{id}');

interface Answer {
  status: number;
  content?: unknown;
  headers?: Record<string, string | string[]>;
}

function fail(code: Parameters<typeof oktaError>[0]): Answer {
  const { status, body: content } = oktaError(code);
  return { status, content };
}

/** Counts the request and decides what Okta would answer. */
function answer({ method = '', url = '', headers }: IncomingMessage, body: Buffer): Answer {
  const { pathname, searchParams } = new URL(url, 'http://okta');
  const token = /^SSWS (\S+)$/.exec(headers.authorization ?? '')?.[1];
  if (!token || revoked.has(token)) return fail('E0000011');
  const bucket = `${token} ${bucketOf(pathname)}`;
  const count = (used.get(bucket) ?? 0) + 1;
  used.set(bucket, count);
  const rateLimit = {
    'x-rate-limit-limit': String(limit),
    'x-rate-limit-remaining': String(Math.max(0, limit - count)),
    'x-rate-limit-reset': String(Math.ceil(resetAt.getTime() / 1_000)),
  };
  const {
    status,
    content,
    headers: ownHeaders,
  } = count > limit ? fail('E0000047') : answerAt({ method, url, headers }, pathname, searchParams, body);
  return { status, content, headers: { ...rateLimit, ...ownHeaders } };
}

function answerAt(
  { method, url, headers }: { method: string; url: string; headers: IncomingMessage['headers'] },
  pathname: string,
  parameters: URLSearchParams,
  body: Buffer,
): Answer {
  const origin = `http://${headers.host}`;
  const collection = Object(collections)[pathname] as (typeof collections)['/api/v1/users'] | undefined;
  if (collection && method === 'GET') {
    const { defaultLimit, maxLimit, build } = collection;
    const pageSize = Math.min(Number(parameters.get('limit') ?? defaultLimit), maxLimit);
    const after = Number(parameters.get('after') ?? 0);
    const length = Math.min(pageSize, size - after);
    const link = (cursor: number, rel: string) => {
      const query = new URLSearchParams({ ...Object.fromEntries(parameters), after: String(cursor) });
      return `<${origin}${pathname}?${query}>; rel="${rel}"`;
    };
    const next = after + pageSize < size ? [link(after + pageSize, 'next')] : [];
    return {
      status: 200,
      content: Array.from({ length }, (_, index) => build(after + index)),
      headers: { link: [link(after, 'self'), ...next] },
    };
  }
  if (collection && method === 'POST') {
    const location = `${origin}${pathname}/${id('00u', size)}`;
    return { status: 201, content: { received: body.toString('base64') }, headers: { location } };
  }
  if (method === 'DELETE') return { status: 204 };
  if (pathname === '/api/v1/users/me' || pathname.startsWith('/.well-known/')) {
    const { status, body: content } = respondAsOkta({
      method,
      path: url,
      authorization: headers.authorization,
    });
    return { status, content };
  }
  return fail('E0000007');
}

function serve(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const [, bytes] = /^\/api\/v1\/stand-in\/bytes\/(\d+)$/.exec(request.url ?? '') ?? [];
  if (bytes !== undefined) {
    pour(response, Number(bytes));
    return;
  }
  const { status, content, headers } = answer(request, body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'x-okta-request-id': 'aPBIVl_a-Xrm_Tq-OWMq4gAAABc',
    'set-cookie': ['sid=""; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'JSESSIONID=0123456789; Path=/'],
    'strict-transport-security': 'max-age=315360000; includeSubDomains',
    ...headers,
  });
  response.end(content === undefined ? undefined : JSON.stringify(content));
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
    const { method = '', url = '', rawHeaders } = request;
    journal.push({ method, url, headers: rawHeaders, body: body.toString('base64') });
    serve(request, response, body);
  });
});

process.on('message', (message: StandInMessage) => {
  if (message.limit !== undefined) {
    limit = message.limit;
    used.clear();
  }
  if (message.revoke !== undefined) revoked.add(message.revoke);
  process.send?.({ journal: message.isJournalWanted ? journal.splice(0) : [] });
});
process.once('disconnect', () => process.exit());

server.listen(0, '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
