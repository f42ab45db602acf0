import { inspect } from 'node:util';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { OAuthClient } from '../src/oauth/oauth-client.ts';
import { generatePrivateKey, openPrivateKey, toPublicJwk } from '../src/oauth/private-key.ts';
import { TokenRequestError } from '../src/oauth/token-request.ts';
import { createOutbound } from '../src/outbound/create-outbound.ts';
import type { OutboundClient } from '../src/outbound/outbound.ts';
import type { ServiceApp } from './testkit/okta-service-apps.ts';
import { type JournalEntry, type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import type { Answer } from './testkit/okta-standin-answers.ts';

const tokenPath = '/oauth2/v1/token';
const anHourMs = 3_600_000;
let okta: OktaStandIn;
let outbound: OutboundClient;
let apps = 0;

beforeAll(async () => {
  okta = await startOktaStandIn();
  outbound = createOutbound({ trustedHosts: new Set([okta.hostPort]) });
});
afterAll(async () => {
  await outbound.close();
  await okta[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await okta.setNonceRequired(false);
  await okta.takeJournal();
});
afterEach(async () => {
  vi.useRealTimers();
  await okta.setClockAhead(0);
});

/** Creates a service app with a key, and a client of it. */
async function createClient({
  asked = ['okta.users.read'],
  isKeyKnown = true,
  ...app
}: Partial<ServiceApp> & { asked?: string[]; isKeyKnown?: boolean } = {}) {
  apps += 1;
  const clientId = `0oa${String(apps).padStart(17, '0')}`;
  const jwk = await generatePrivateKey();
  const publicJwk = { ...(await toPublicJwk(jwk)) };
  const keys = isKeyKnown ? [publicJwk] : [{ ...publicJwk, kid: 'another' }];
  await okta.setServiceApp({ clientId, scopes: ['okta.users.read', 'okta.users.manage'], keys, ...app });
  const client = new OAuthClient({
    tokenUrl: new URL(tokenPath, okta.origin),
    ...{ clientId, scopes: asked, key: openPrivateKey(jwk), keyId: publicJwk.kid },
  });
  return { client, clientId, jwk, publicJwk };
}

/** Sends a request as a connection does: once more if that can help. */
async function send(client: OAuthClient, path = '/api/v1/users?limit=1', method = 'GET') {
  const url = new URL(path, okta.origin);
  const attempt = async () => {
    const { headers, token } = await client.authorize({ method, url }, outbound);
    const response = await fetch(url, { method, headers });
    const mayRepeat = client.observe(token, {
      status: response.status,
      headers: Object.fromEntries(response.headers),
    });
    return { status: response.status, mayRepeat };
  };
  const first = await attempt();
  return first.mayRepeat ? attempt() : first;
}

const many = (count: number, run: () => Promise<unknown>) =>
  Promise.all(Array.from({ length: count }, () => run()));

function setClock(aheadMs: number): Promise<void> {
  vi.useRealTimers();
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + aheadMs });
  return okta.setClockAhead(aheadMs);
}

const header = ({ headers }: JournalEntry, name: string) =>
  headers.find((_, index) => index % 2 === 1 && headers[index - 1]?.toLowerCase() === name);
const proofs = (journal: readonly JournalEntry[]) => journal.map((entry) => header(entry, 'dpop') ?? '');
const formOf = ({ body }: JournalEntry) =>
  Object.fromEntries(new URLSearchParams(Buffer.from(body, 'base64').toString()));
const isTokenRequest = ({ url }: JournalEntry) => url === tokenPath;
const statuses = (journal: readonly JournalEntry[]) => journal.map(({ status }) => status);

describe('an access token for a service app', () => {
  it('is asked for with a new assertion and a new proof when Okta requires a nonce', async () => {
    const { client, clientId, publicJwk } = await createClient();
    expect(await send(client)).toMatchObject({ status: 200 });
    const [first, second, ...others] = await okta.takeJournal();
    expect(others).toHaveLength(1);
    const requests = [first, second].map((entry) => entry as JournalEntry);
    expect(statuses(requests)).toEqual([400, 200]);
    const assertions = requests.map((entry) => formOf(entry).client_assertion ?? '');
    for (const assertion of assertions) {
      const { iat = 0, exp = 0, ...claims } = decodeJwt(assertion);
      expect(decodeProtectedHeader(assertion)).toEqual({ alg: 'ES256', kid: publicJwk.kid });
      expect(claims).toEqual({
        ...{ iss: clientId, sub: clientId, aud: `${okta.origin}${tokenPath}` },
        jti: expect.any(String),
      });
      expect(exp - iat).toBeLessThanOrEqual(300);
    }
    const ids = [...assertions, ...proofs(requests)].map((jwt) => decodeJwt(jwt).jti);
    expect(new Set(ids).size).toBe(4);
    expect(decodeProtectedHeader(proofs(requests)[0] ?? '').jwk).not.toMatchObject({ x: publicJwk.x });
  });

  it('is a bearer token where Okta does not require DPoP', async () => {
    const { client } = await createClient({ requiresDpop: false });
    expect(await send(client)).toMatchObject({ status: 200 });
    const [, request] = await okta.takeJournal();
    expect(header(request as JournalEntry, 'authorization')).toMatch(/^Bearer /);
    expect(header(request as JournalEntry, 'dpop')).toBeUndefined();
  });

  it('is minted once for all who need one at the same time, and used until shortly before its end', async () => {
    const { client } = await createClient({ requiresDpop: false });
    await many(50, () => send(client));
    await setClock(anHourMs - 90_000);
    await many(50, () => send(client));
    const journal = await okta.takeJournal();
    expect(journal.filter(isTokenRequest)).toHaveLength(1);
    expect(journal.filter(({ status }) => status !== 200)).toEqual([]);
  });

  it('is replaced before its end while requests go on, and waited for after its end', async () => {
    const { client } = await createClient({ requiresDpop: false });
    const first = await client.getToken(outbound);
    await setClock(anHourMs - 30_000);
    expect(await client.getToken(outbound)).toBe(first);
    await expect.poll(() => client.getToken(outbound)).not.toBe(first);
    await setClock(3 * anHourMs);
    expect(await send(client)).toMatchObject({ status: 200 });
    expect((await okta.takeJournal()).filter(isTokenRequest)).toHaveLength(3);
  });

  it('is replaced at once if Okta has accepted it before, but only once in half a minute', async () => {
    const { client } = await createClient({ requiresDpop: false });
    expect(await send(client)).toMatchObject({ status: 200 });
    await okta.endAccessTokens();
    expect(await send(client)).toMatchObject({ status: 200 });
    await okta.endAccessTokens();
    expect(await send(client)).toEqual({ status: 401, mayRepeat: false });
    await setClock(30_000);
    expect(await send(client)).toMatchObject({ status: 200 });
  });

  it('is replaced once if Okta ends it, and not again if Okta refuses the new one too', async () => {
    const { client } = await createClient({ requiresDpop: false });
    await send(client);
    await okta.endAccessTokens();
    await setClock(60_000);
    expect(await many(10, () => send(client))).toEqual(
      Array.from({ length: 10 }, () => ({ status: 200, mayRepeat: false })),
    );
    const refusal = { status: 401, content: {} };
    await okta.answerNext('/api/v1/users', refusal);
    expect(await send(client)).toEqual({ status: 401, mayRepeat: false });
    expect((await okta.takeJournal()).filter(isTokenRequest)).toHaveLength(2);
  });

  it('is asked for again, with another assertion and proof, if the connection breaks', async () => {
    const { client } = await createClient();
    await okta.answerNext(tokenPath, { status: 0 });
    expect(await send(client)).toMatchObject({ status: 200 });
    const requests = (await okta.takeJournal()).filter(isTokenRequest);
    expect(statuses(requests)).toEqual([0, 400, 200]);
    expect(new Set(proofs(requests)).size).toBe(3);
    expect(new Set(requests.map((entry) => formOf(entry).client_assertion)).size).toBe(3);
  });
});

describe('a proof of possession', () => {
  it('has the newest nonce of any response, also of a 429, and is never sent twice', async () => {
    const { client } = await createClient();
    await send(client);
    await okta.setNonceRequired(true);
    await okta.renewNonce();
    const results = await many(10, () => send(client));
    expect(results).toEqual(Array.from({ length: 10 }, () => ({ status: 200, mayRepeat: false })));

    const limited = { status: 429, headers: { 'dpop-nonce': 'nonce-of-a-429' }, content: {} };
    await okta.answerNext('/api/v1/users', limited);
    expect(await send(client)).toEqual({ status: 429, mayRepeat: false });
    await send(client, '/api/v1/users?limit=2&q=x');
    const journal = await okta.takeJournal();
    const [afterLimit, repeated] = proofs(journal).slice(-2).map(decodeJwt);
    expect(afterLimit).toMatchObject({
      ...{ htm: 'GET', htu: `${okta.origin}/api/v1/users`, nonce: 'nonce-of-a-429' },
      ath: expect.any(String),
    });
    expect(repeated?.nonce).not.toBe('nonce-of-a-429');
    expect(statuses(journal).slice(-3)).toEqual([429, 400, 200]);
    expect(new Set(proofs(journal)).size).toBe(journal.length);
  });
});

describe('a token request that fails', () => {
  it.each<[string, Parameters<typeof createClient>[0], string, number]>([
    ['an unknown key', { isKeyKnown: false }, 'invalid_client', 401],
    ['a client that is not active', { isActive: false }, 'invalid_client', 401],
    ['a scope that is not granted', { asked: ['okta.users.read', 'okta.logs.read'] }, 'invalid_scope', 400],
  ])('has the code of Okta for %s', async (_, app, code, status) => {
    const { client } = await createClient(app);
    const error: TokenRequestError = await client
      .authorize({ method: 'GET', url: new URL(okta.origin) }, outbound)
      .then(
        () => expect.fail('It did not fail.'),
        (thrown) => thrown,
      );
    expect(error).toBeInstanceOf(TokenRequestError);
    expect([error.code, error.response.status]).toEqual([code, status]);
  });

  const oauthError = (error: string, status = 400) => ({
    status,
    content: { error, error_description: 'x' },
  });
  it.each<[string, Answer, string | undefined, number]>([
    ['unauthorized_client', oauthError('unauthorized_client'), 'unauthorized_client', 400],
    ['access_denied', oauthError('access_denied', 403), 'access_denied', 403],
    ['invalid_dpop_proof', oauthError('invalid_dpop_proof'), 'invalid_dpop_proof', 400],
    ['use_dpop_nonce without a nonce', oauthError('use_dpop_nonce'), 'use_dpop_nonce', 400],
    ['an error that is no text', { status: 400, content: { error: { a: 1 } } }, undefined, 400],
    [
      'a page',
      { status: 200, content: '<!doctype html>', headers: { 'content-type': 'text/html' } },
      undefined,
      200,
    ],
    ['half of a JSON document', { status: 200, content: '{"access_token":"abc' }, undefined, 200],
    ['another document', { status: 200, content: { hello: 'world' } }, undefined, 200],
    [
      'a token with a line break',
      { status: 200, content: { access_token: 'a\r\nb', token_type: 'Bearer' } },
      undefined,
      200,
    ],
    [
      'a token of another type',
      { status: 200, content: { access_token: 'abc', token_type: 'MAC' } },
      undefined,
      200,
    ],
    ['a redirect', { status: 302, headers: { location: 'https://example.com/' } }, undefined, 302],
    ['a rate limit', { status: 429, content: { errorCode: 'E0000047' } }, undefined, 429],
    ['a server error', { status: 503, content: '' }, undefined, 503],
  ])('says what the server answered: %s', async (_, answer, code, status) => {
    const { client } = await createClient({ requiresDpop: false });
    await okta.answerNext(tokenPath, answer);
    const error = await Promise.resolve(client.getToken(outbound)).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(TokenRequestError);
    expect([error.code, error.response.status]).toEqual([code, status]);
    expect((await okta.takeJournal()).filter(isTokenRequest)).toHaveLength(1);
  });

  it('is one for all who wait, and shows neither the key nor an assertion', async () => {
    const { client, jwk } = await createClient({ isKeyKnown: false });
    const outcomes = await many(20, () => send(client).catch((error: unknown) => error));
    const requests = (await okta.takeJournal()).filter(isTokenRequest);
    expect(requests).toHaveLength(1);
    const shown =
      outcomes.map((error) => inspect(error, { depth: 10 })).join() + inspect(client, { depth: 10 });
    expect(shown).not.toContain(JSON.parse(jwk.reveal()).d);
    expect(shown).not.toContain(formOf(requests[0] as JournalEntry).client_assertion);
  });
});
