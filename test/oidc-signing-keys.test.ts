import type { RequestListener } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { AuditEvent } from '../src/audit/audit-event.entity.ts';
import { makeKey } from './testkit/oidc.ts';
import { useServerWithOidc } from './testkit/oidc-server.ts';
import { type Listed, listQuery } from './testkit/operations.ts';
import { at, createContractChecker, restClient } from './testkit/rest.ts';
import { errorsOf } from './testkit/server.ts';

const oidc = useServerWithOidc();

// Tests move the clock of this process, so that they do not wait for keys to expire.
let clock = Date.now();
function later(seconds: number): void {
  clock = Math.max(clock, Date.now()) + seconds * 1_000;
  vi.setSystemTime(clock);
}
afterEach(() => {
  vi.useRealTimers();
});

const configurationPath = '/.well-known/openid-configuration';
/** The maximum age of cached keys, and the minimum interval between refetches for unknown key ids. */
const [oldAge, cooldown] = [10 * 60, 30];

const aToken = (signing = {}) =>
  oidc.provider.forge({ org: oidc.organisation.orgId, scope: 'connections:read' }, signing);

/** Returns the status and the error of a response. */
async function parseOutcome(token: string): Promise<[number, unknown]> {
  const { status, body } = await restClient(oidc.server.url, token)('GET', '/api/v1/app-connections');
  return [status, at(body, 'detail')];
}

const accepted = [200, undefined];
const notSigned = [401, 'The signature of the token is not by a key of the identity provider.'];

describe("rotation of the provider's signing keys", () => {
  test('accepts a new key without a restart, and rejects the previous one', async () => {
    later(oldAge);
    const [before] = oidc.provider.keys();
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    oidc.provider.rotate(await makeKey('RS256'));
    later(cooldown);
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    expect(await parseOutcome(await aToken({ key: before }))).toEqual(notSigned);
  });

  test('rejects tokens of a withdrawn key after ten minutes', async () => {
    later(oldAge);
    const [withdrawn] = oidc.provider.keys();
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    oidc.provider.rotate(await makeKey('RS256'));
    later(oldAge);
    expect(await parseOutcome(await aToken({ key: withdrawn }))).toEqual(notSigned);
  });

  test('follows a changed jwks_uri', async () => {
    later(oldAge);
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    oidc.provider.rotate(await makeKey('RS256'));
    const [moved, gone] = [await (await fetch(`${oidc.provider.issuer}/jwks`)).text(), answering(404, '')];
    const configuration = await (await fetch(oidc.provider.issuer + configurationPath)).json();
    oidc.provider.answer('/jwks', gone);
    oidc.provider.answer('/moved', answering(200, moved));
    oidc.provider.answer(
      configurationPath,
      answering(200, JSON.stringify({ ...configuration, jwks_uri: `${oidc.provider.issuer}/moved` })),
    );
    later(cooldown);
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    oidc.provider.answer('/jwks');
    oidc.provider.answer(configurationPath);
  });

  test('requires a key id while several keys fit', async () => {
    oidc.provider.rotate(await makeKey('RS256'), await makeKey('RS256'));
    later(oldAge);
    for (const key of oidc.provider.keys())
      expect(await parseOutcome(await aToken({ key }))).toEqual(accepted);
    expect(await parseOutcome(await aToken({ header: { kid: undefined } }))).toEqual([
      401,
      'The token does not name its signing key (kid), and the identity provider has several keys.',
    ]);
  });

  test('does not refetch keys for every token of an unauthenticated client', async () => {
    later(oldAge);
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    const requestsBefore = oidc.provider.requestCount('/jwks');
    const strange = { key: await makeKey('RS256') };
    for (let i = 0; i < 5; i += 1) expect(await parseOutcome(await aToken(strange))).toEqual(notSigned);
    expect(oidc.provider.requestCount('/jwks')).toBe(requestsBefore);
    later(cooldown);
    for (let i = 0; i < 5; i += 1) expect(await parseOutcome(await aToken(strange))).toEqual(notSigned);
    expect(oidc.provider.requestCount('/jwks')).toBe(requestsBefore + 1);
  });
});

describe('provider outage', () => {
  test('fails OIDC tokens with a code, keeps API keys working, and recovers without a restart', async () => {
    const token = await aToken();
    const { apiKey, client, orgId } = oidc.organisation;
    const { check } = createContractChecker(
      Object((await restClient(oidc.server.url, apiKey)('GET', '/api/v1/openapi.json')).body),
    );
    const events = await oidc.server.asOwner().count(AuditEvent);
    later(oldAge);
    await oidc.provider.stop();

    const answer = await restClient(oidc.server.url, token)('GET', '/api/v1/app-connections');
    check('GET', '/api/v1/app-connections', answer);
    expect(answer.status).toBe(503);
    const problem = {
      code: 'UPSTREAM_UNREACHABLE',
      remedy: 'The token was not verified. Try again later, or use an API key.',
    };
    const message = 'The keys of the identity provider could not be fetched: the connection was refused.';
    expect(answer.body).toMatchObject({ ...problem, detail: message });
    expect(answer.headers.get('www-authenticate')).toBeNull();
    const [error] = await errorsOf(oidc.server.clientFor(token).request(listQuery));
    expect(error).toMatchObject({ message, extensions: problem });
    // A token that is invalid with any key is still rejected.
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${token.split('.')[1]}.`;
    expect((await parseOutcome(none))[0]).toBe(401);
    expect((await client.request<Listed>(listQuery)).appConnections.totalCount).toBe(0);
    expect(await oidc.server.asOwner().count(AuditEvent, { orgId, action: 'SIGN_IN' })).toBe(0);
    // The refusal is recorded shortly after the response.
    await expect.poll(() => oidc.server.asOwner().count(AuditEvent)).toBe(events + 1);

    await oidc.provider.start();
    expect(await parseOutcome(await aToken())).toEqual(accepted);
  });

  test('uses cached signing keys for up to ten minutes', async () => {
    later(oldAge);
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    await oidc.provider.stop();
    later(oldAge - 1);
    expect(await parseOutcome(await aToken())).toEqual(accepted);
    later(1);
    expect((await parseOutcome(await aToken()))[0]).toBe(503);
    await oidc.provider.start();
    expect(await parseOutcome(await aToken())).toEqual(accepted);
  });
});

function answering(status: number, body: string | Buffer, headers = {}): RequestListener {
  return (_, response) => {
    response.writeHead(status, headers).end(body);
  };
}

describe('tokens cannot be verified when the provider', () => {
  const another = 'its configuration is not that of OIDC_ISSUER';
  const weak = { kty: 'RSA', e: 'AQAB', n: Buffer.alloc(128, 0xc3).toString('base64url') };

  test.each<[string, string, string, (real: string) => RequestListener]>([
    [
      "has another issuer's configuration",
      another,
      configurationPath,
      (real) => answering(200, real.replaceAll('127.0.0.1', 'localhost')),
    ],
    [
      'has no keys in its configuration',
      another,
      configurationPath,
      (real) => answering(200, real.replace('jwks_uri', 'jwks')),
    ],
    [
      'has its keys in a file',
      another,
      configurationPath,
      (real) => answering(200, real.replace(/"jwks_uri":"[^"]*"/, '"jwks_uri":"file:///etc/keys.json"')),
    ],
    [
      'has its keys at a private address that is not its own',
      'only https is allowed for this host',
      configurationPath,
      (real) => answering(200, real.replace(/"jwks_uri":"[^"]*"/, '"jwks_uri":"http://127.0.0.1:1/jwks"')),
    ],
    ['has an HTML page as configuration', another, configurationPath, () => answering(200, '<html>')],
    [
      'has no configuration',
      'asked for its configuration, it answered with status 404',
      configurationPath,
      () => answering(404, ''),
    ],
    [
      'redirects its configuration',
      'asked for its configuration, it answered with status 302',
      configurationPath,
      () => answering(302, '', { location: `${oidc.provider.issuer}/jwks` }),
    ],
    [
      'fails with status 500',
      'asked for its keys, it answered with status 500',
      '/jwks',
      () => answering(500, '{}'),
    ],
    ['has an HTML page as key set', 'they are invalid', '/jwks', () => answering(200, '<html>')],
    ['has other JSON as key set', 'they are invalid', '/jwks', () => answering(200, '{"keys":7}')],
    [
      'has a key that is too weak',
      'they are invalid',
      '/jwks',
      (real) => answering(200, JSON.stringify({ keys: [{ ...weak, kid: JSON.parse(real).keys[0].kid }] })),
    ],
    [
      'has an invalid key',
      'they are invalid',
      '/jwks',
      (real) => answering(200, real.replaceAll(/"n":"[^"]*"/g, '"n":7')),
    ],
    [
      'has a set of keys of a megabyte',
      'the response is larger than 262144 bytes',
      '/jwks',
      (real) => answering(200, real.replace('{', `{"x":"${'x'.repeat(1_000_000)}",`)),
    ],
    [
      'has a set of keys that is a megabyte once it is decompressed',
      'the response is larger than 262144 bytes',
      '/jwks',
      (real) =>
        answering(200, gzipSync(real.replace('{', `{"x":"${'x'.repeat(1_000_000)}",`)), {
          'content-encoding': 'gzip',
        }),
    ],
    [
      'has a set of keys in chunks of one byte',
      'the response has more than 1000 chunks',
      '/jwks',
      (real) => (_, response) => {
        for (const character of real.padEnd(2_000)) response.write(character);
        response.end();
      },
    ],
    [
      'has a set of keys that is nested 40 levels deep',
      'they are invalid',
      '/jwks',
      (real) => answering(200, real.replace('{', `{"x":${'['.repeat(40)}${']'.repeat(40)},`)),
    ],
    [
      'has a configuration with 25,000 entries',
      another,
      configurationPath,
      (real) => answering(200, real.replace('{', `{"x":[${'0,'.repeat(25_000)}0],`)),
    ],
    [
      'closes the connection',
      'the connection was closed before the response was complete',
      '/jwks',
      () => (_, response) => response.destroy(),
    ],
  ])('%s, until it recovers', async (_, why, path, make) => {
    later(oldAge);
    const real = await (await fetch(oidc.provider.issuer + path)).text();
    oidc.provider.answer(path, make(real));
    expect(await parseOutcome(await aToken())).toEqual([
      503,
      `The keys of the identity provider could not be fetched: ${why}.`,
    ]);
    oidc.provider.answer(path);
    later(oldAge);
    expect(await parseOutcome(await aToken())).toEqual(accepted);
  });
});
