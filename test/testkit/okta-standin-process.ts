/**
 * The process of the Okta stand-in (see okta-standin.ts): an Okta organisation with users, groups, applications and a System
 * Log, made from Okta's own API description, with pages by `Link`, rate limits for each token and bucket, and access tokens
 * for service apps.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { authorizeRequest } from './okta-access-tokens.ts';
import { answerKeyRequest } from './okta-app-keys.ts';
import { ProofVerifier } from './okta-dpop.ts';
import { ServiceApps } from './okta-service-apps.ts';
import type { JournalEntry, StandInMessage } from './okta-standin.ts';
import { type Answer, answerAsOkta, fail, type OktaRequest } from './okta-standin-answers.ts';
import { Organisation } from './okta-standin-organisation.ts';
import { answerTokenRequest, type TokenEndpointState } from './okta-token-endpoint.ts';

const organisation = new Organisation(250);
const journal: JournalEntry[] = [];
const revoked = new Set<string>();

/** How far Okta's clock is ahead, in milliseconds. */
let aheadMs = 0;
const getTime = () => Date.now() + aheadMs;
/** Whether requests with a DPoP token need the newest nonce. */
let requiresNonce = false;
const replacements: { path: string; answer: Answer }[] = [];
/** The response that is held. */
let held:
  | { path: string; arrived: PromiseWithResolvers<void>; released: PromiseWithResolvers<void> }
  | undefined;
const oauth: TokenEndpointState = {
  apps: new ServiceApps(getTime),
  proofs: new ProofVerifier(),
  tokens: new Map(),
  nonce: randomUUID(),
  getTime,
};

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
  const now = getTime();
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
async function answer(request: OktaRequest): Promise<Answer & { resetAt?: number }> {
  const { url, headers } = request;
  if (url.pathname === '/.well-known/openid-configuration') return answerMetadataRequest(url);
  if (url.pathname.startsWith('/.well-known/')) return answerAsOkta(organisation, request);
  if (url.pathname === '/oauth2/v1/token') {
    const answered = await answerTokenRequest(oauth, request);
    return takeReplacement(url) ?? answered;
  }
  const apiToken = /^SSWS (\S+)$/.exec(headers.authorization ?? '')?.[1];
  let principal = apiToken;
  if (apiToken === undefined && headers.authorization) {
    const authorized = await authorizeRequest(oauth, request, requiresNonce);
    const replacement = takeReplacement(url);
    if (replacement) return replacement;
    if ('status' in authorized) return authorized;
    principal = authorized.clientId;
  }
  if (!principal || revoked.has(principal)) return fail('E0000011');
  if (
    apiToken !== undefined &&
    url.pathname === '/api/v1/api-tokens/current' &&
    request.method === 'DELETE'
  ) {
    const replacement = takeReplacement(url);
    if (!replacement) revoked.add(apiToken);
    return replacement ?? { status: 204 };
  }
  const { isLimited, resetAt, headers: rateLimit } = count(principal, url.pathname);
  const answered = isLimited
    ? fail('E0000047')
    : (answerKeyRequest(oauth.apps, request) ?? answerAsOkta(organisation, request));
  const nonce: Record<string, string> = apiToken === undefined ? { 'dpop-nonce': oauth.nonce } : {};
  return { ...answered, headers: { ...rateLimit, ...nonce, ...answered.headers }, resetAt };
}

/** Answers with the metadata of the authorization server for a client. */
function answerMetadataRequest({ origin, searchParams }: URL): Answer {
  if (oauth.apps.find(searchParams.get('client_id') ?? ''))
    return { status: 200, content: { issuer: origin, token_endpoint: `${origin}/oauth2/v1/token` } };
  const errorSummary = 'Invalid value for `client_id` parameter';
  return { status: 400, content: { errorCode: 'invalid_client', errorSummary, errorCauses: [] } };
}

/** Takes the next answer that a test has set for a path. The proof of the request is used up nevertheless, as in Okta. */
function takeReplacement({ pathname }: URL): Answer | undefined {
  const index = replacements.findIndex(({ path }) => path === pathname);
  return index < 0 ? undefined : replacements.splice(index, 1)[0]?.answer;
}

/** Answers a request. The status is 0 for one that is never answered. */
async function serve(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
  const { method = '', url = '', headers, rawHeaders } = request;
  const entry = { method, url, headers: rawHeaders, body: body.toString('base64') };
  const [, bytes] = /^\/api\/v1\/stand-in\/bytes\/(\d+)$/.exec(url) ?? [];
  if (bytes !== undefined) {
    journal.push({ ...entry, status: 200 });
    pour(response, Number(bytes));
    return;
  }
  if (url === '/api/v1/stand-in/silence') {
    journal.push({ ...entry, status: 0 });
    return;
  }
  const target = new URL(url, `http://${headers.host}`);
  const answered = await answer({ method, url: target, headers, body });
  const { status, content, resetAt } = answered;
  if (held?.path === target.pathname) {
    const { arrived, released } = held;
    held.path = '';
    arrived.resolve();
    await released.promise;
  }
  journal.push({ ...entry, status, resetAt });
  if (status === 0) {
    request.socket.destroy();
    return;
  }
  response.writeHead(status, {
    'content-type': 'application/json',
    'x-okta-request-id': 'aPBIVl_a-Xrm_Tq-OWMq4gAAABc',
    'set-cookie': ['sid=""; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'JSESSIONID=0123456789; Path=/'],
    'strict-transport-security': 'max-age=315360000; includeSubDomains',
    date: new Date(getTime()).toUTCString(),
    ...answered.headers,
  });
  const text = content === undefined ? '' : typeof content === 'string' ? content : JSON.stringify(content);
  response.end(text.replaceAll('https://{yourOktaDomain}', `http://${headers.host}`));
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
    serve(request, response, Buffer.concat(chunks)).catch((error: unknown) => {
      console.error(error);
      response.writeHead(500).end();
    });
  });
});

process.on('message', async (message: StandInMessage) => {
  if (message.limit !== undefined) {
    limit = message.limit;
    windowMs = (message.windowSeconds ?? 60) * 1_000;
    windows.clear();
  }
  if (message.revoke !== undefined) revoked.add(message.revoke);
  if (message.app !== undefined) oauth.apps.set(message.app);
  if (message.deletedApp !== undefined) oauth.apps.delete(message.deletedApp);
  if (message.hold) {
    held = { path: message.hold, arrived: Promise.withResolvers(), released: Promise.withResolvers() };
  }
  if (message.hold === null) held?.released.resolve();
  if (message.isHeldWanted) await held?.arrived.promise;
  if (message.aheadMs !== undefined) aheadMs = message.aheadMs;
  if (message.requiresNonce !== undefined) requiresNonce = message.requiresNonce;
  if (message.endsAccessTokens) oauth.tokens.clear();
  if (message.renewsNonce) oauth.nonce = randomUUID();
  if (message.replacement !== undefined) replacements.push(message.replacement);
  process.send?.({ journal: message.isJournalWanted ? journal.splice(0) : [] });
});
process.once('disconnect', () => process.exit());

server.listen(0, '127.0.0.1', () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
