import { randomUUID } from 'node:crypto';
import { CompactSign, decodeJwt, importJWK, SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { makeKey, startProvider } from './testkit/oidc.ts';
import { useServerWithOidc } from './testkit/oidc-server.ts';
import { restClient } from './testkit/rest.ts';

const oidc = useServerWithOidc();

/** A valid token, public keys of the provider, and the claims that no response may echo. */
interface Material {
  org: string;
  canary: string;
  canaryId: string;
}

const seconds = () => Math.floor(Date.now() / 1_000);
const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');

/** Replaces one part of a valid token. */
async function altered(org: string, change: (parts: string[]) => string[]): Promise<string> {
  return change((await oidc.provider.forge({ org })).split('.')).join('.');
}

/** Signs a token by HMAC with the provider's public key as the secret (algorithm confusion). */
async function withHmac({ org }: Material, secret: string): Promise<string> {
  const claims = decodeJwt(await oidc.provider.forge({ org }));
  const [{ jwk }] = oidc.provider.keys();
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: jwk.kid }).sign(Buffer.from(secret));
}

/** Signs a token with claims that jose refuses to write. */
async function forgeWith(claims: object): Promise<string> {
  const { jwk } = oidc.provider.keys()[0];
  const payload = { ...decodeJwt(await oidc.provider.forge({ scope })), ...claims };
  return new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid: jwk.kid })
    .sign(await importJWK(jwk, 'RS256'));
}

async function publishedJwk(): Promise<string> {
  const { keys } = await (await fetch(`${oidc.provider.issuer}/jwks`)).json();
  return JSON.stringify(keys[0]);
}

const scope = 'connections:read';
const notForAccess = 'The token is not an access token.';
const notSigned = 'The signature of the token is not by a key of the identity provider.';
const notAccepted = 'The token is unsigned, or signed with an algorithm that is not supported.';
const notClear = (claim: string) => `The claim ${claim} of the token is missing or invalid.`;
const notHere = 'The organisation of the token does not exist.';

/** Sends a token to GraphQL and to REST, and returns the status codes and both responses. */
async function present(token: string) {
  const graphql = await fetch(oidc.server.graphqlUrl, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query: '{ viewer { subject } }' }),
  });
  const text = await graphql.text();
  const rest = await restClient(oidc.server.url, token)('GET', '/api/v1/app-connections');
  return {
    statuses: [graphql.status, rest.status],
    error: JSON.parse(text).errors?.[0],
    problem: rest.body,
    everything: [graphql, rest].map(({ headers }) => JSON.stringify([...headers])).join() + text + rest.text,
  };
}

describe('rejects a token, and echoes no part of it,', () => {
  test.each<[string, string, (material: Material) => Promise<string>]>([
    [
      'if it has expired',
      'The token has expired.',
      ({ org, canary }) => oidc.provider.forge({ org, exp: seconds() - 61, jti: canary }),
    ],
    [
      'if it is not valid yet',
      'The token is not valid yet.',
      ({ org, canary }) => oidc.provider.forge({ org, nbf: seconds() + 90, jti: canary }),
    ],
    [
      'if it is for another audience',
      'The audience of the token (aud) is not OIDC_AUDIENCE.',
      ({ org, canary }) => oidc.provider.forge({ org, aud: canary }),
    ],
    ['if it is for no audience', notClear('aud'), ({ org }) => oidc.provider.forge({ org, aud: undefined })],
    [
      'if it names another issuer',
      'The issuer of the token (iss) is not OIDC_ISSUER.',
      ({ org, canary }) => oidc.provider.forge({ org, iss: canary }),
    ],
    ['if it names no issuer', notClear('iss'), ({ org }) => oidc.provider.forge({ org, iss: undefined })],
    [
      'if another provider has issued it',
      notSigned,
      async ({ org }) => {
        await using another = await startProvider();
        return await another.issue('robot', 'connections:read', { org });
      },
    ],
    [
      'if its key is another under the same id',
      notSigned,
      async ({ org }) => {
        const [{ jwk }] = oidc.provider.keys();
        return oidc.provider.forge({ org }, { key: await makeKey('RS256'), header: { kid: jwk.kid } });
      },
    ],
    [
      'if it is signed with a key that it brings along',
      notSigned,
      async ({ org }) => {
        const key = await makeKey('RS256');
        const { d: _, ...jwk } = key.jwk;
        return oidc.provider.forge({ org }, { key, header: { jwk } });
      },
    ],
    [
      'if the id of its key is unknown',
      notSigned,
      ({ org, canary }) => oidc.provider.forge({ org }, { header: { kid: canary } }),
    ],
    [
      'if its algorithm is none',
      notAccepted,
      ({ org }) => altered(org, ([, claims = '']) => [encoded({ alg: 'none' }), claims, '']),
    ],
    [
      'if its algorithm is nOnE',
      notAccepted,
      ({ org }) =>
        altered(org, ([, claims = '', signature = '']) => [encoded({ alg: 'nOnE' }), claims, signature]),
    ],
    [
      "if it is signed with HMAC and the provider's public key in PEM",
      notAccepted,
      (material) => withHmac(material, oidc.provider.keys()[0].publicPem),
    ],
    [
      "if it is signed with HMAC and the provider's public key as a JWK",
      notAccepted,
      async (material) => withHmac(material, await publishedJwk()),
    ],
    [
      'if its signature is left out',
      notSigned,
      ({ org }) => altered(org, ([header = '', claims = '']) => [header, claims, '']),
    ],
    [
      'if its claims were changed',
      notSigned,
      ({ org, canary }) =>
        altered(org, ([header = '', claims = '', signature = '']) => [
          header,
          encoded({ ...decodeJwt(`.${claims}.`), sub: canary }),
          signature,
        ]),
    ],
    ['if it is no token but looks like one', notSigned, async () => 'eyJub3QganNvbg.eyJub3QganNvbg.eyJ'],
    ['if it never expires', notClear('exp'), ({ org }) => oidc.provider.forge({ org, exp: undefined })],
    [
      'if it expires after the year 9999',
      notClear('exp'),
      ({ org }) => oidc.provider.forge({ org, exp: 253_402_300_800 }),
    ],
    ['if it names no organisation', notClear('org'), () => oidc.provider.forge({})],
    ['if its organisation is no id', notClear('org'), ({ canary: org }) => oidc.provider.forge({ org })],
    ['if its organisation is a list', notClear('org'), ({ org }) => oidc.provider.forge({ org: [org] })],
    ['if its organisation is not here', notHere, ({ canaryId: org }) => oidc.provider.forge({ org })],
    [
      'if its organisation is the one for unattributed events',
      notHere,
      () => oidc.provider.forge({ org: unattributedOrgId }),
    ],
    ['if it names no subject', notClear('sub'), ({ org }) => oidc.provider.forge({ org, sub: undefined })],
    ['if its subject is empty', notClear('sub'), ({ org }) => oidc.provider.forge({ org, sub: '' })],
    [
      'if its subject has a NUL in it',
      notClear('sub'),
      ({ org, canary }) => oidc.provider.forge({ org, sub: `${canary}\u0000` }),
    ],
    [
      'if its subject has a line break at its end',
      notClear('sub'),
      ({ org, canary }) => oidc.provider.forge({ org, sub: `${canary}\n` }),
    ],
    [
      'if its subject is longer than 255 characters',
      notClear('sub'),
      ({ org, canary }) => oidc.provider.forge({ org, sub: canary.padEnd(256, 'x') }),
    ],
    [
      'if its scopes are no list',
      notClear('scope'),
      ({ org, canary }) => oidc.provider.forge({ org, scope: { [canary]: true } }),
    ],
    ...['logout+jwt', 'dpop+jwt', 'secevent+jwt', 'application/logout+jwt', 'id_token+jwt', 'jws', ''].map(
      (typ): [string, string, (material: Material) => Promise<string>] => [
        `if its type is ${JSON.stringify(typ)}`,
        notForAccess,
        ({ org, canary }) => oidc.provider.forge({ org, scope, jti: canary }, { header: { typ } }),
      ],
    ),
    ...[
      { nonce: 'n' },
      { at_hash: 'h' },
      { c_hash: 'h' },
      { s_hash: 'h' },
      { scope: undefined },
      { typ: 'ID' },
      { typ: 'Refresh' },
      { typ: 'Logout' },
      { typ: 7 },
      { token_use: 'id' },
      { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } },
      { events: {}, typ: 'Bearer' },
    ].flatMap((claims) =>
      ['JWT', 'application/jwt', undefined].map(
        (typ): [string, string, (material: Material) => Promise<string>] => [
          `if it is a JWT (typ ${typ}) with ${JSON.stringify(claims)}`,
          notForAccess,
          ({ org, canary }) =>
            oidc.provider.forge(
              { org, scope, jti: canary, ...claims },
              { header: { typ } as { typ: string } },
            ),
        ],
      ),
    ),
    [
      'if it has the type of access tokens, but an events claim',
      notForAccess,
      ({ org }) => oidc.provider.forge({ org, scope, events: {} }),
    ],
    ...[{ jkt: 'k' }, { 'x5t#S256': 'x' }, { jwk: {} }, {}, null, 'k'].map(
      (cnf): [string, string, (material: Material) => Promise<string>] => [
        `if it is bound to a key: ${JSON.stringify(cnf)}`,
        'The token is bound to a key (cnf). This server does not support proof of possession.',
        ({ org, canary }) => oidc.provider.forge({ org, scope, cnf, jti: canary }),
      ],
    ),
    ...(
      [
        ['a day and two minutes', () => ({ exp: seconds() + 86_400 + 120 })],
        ['a year', () => ({ exp: seconds() + 31_536_000 })],
        ['until the year 9999', () => ({ exp: 253_402_300_799 })],
        ['two days, one of which has passed', () => ({ iat: seconds() - 86_400, exp: seconds() + 86_400 })],
        ['two days, and does not say since when', () => ({ iat: undefined, exp: seconds() + 172_800 })],
      ] as const
    ).map(([howLong, claims]): [string, string, (material: Material) => Promise<string>] => [
      `if it is good for ${howLong}`,
      'The lifetime of the token exceeds 24 hours.',
      ({ org, canary }) => oidc.provider.forge({ org, scope, jti: canary, ...claims() }),
    ]),
    [
      'if it was issued at a time to come',
      'The time of issue of the token (iat) is in the future.',
      ({ org }) => oidc.provider.forge({ org, scope, iat: seconds() + 90, exp: seconds() + 300 }),
    ],
    ['if its time of issue is no number', notClear('iat'), ({ org }) => forgeWith({ org, iat: 'now' })],
    [
      'if it has an unknown critical header',
      notSigned,
      async ({ org }) => {
        const { jwk } = oidc.provider.keys()[0];
        return new SignJWT({ ...decodeJwt(await oidc.provider.forge({ org, scope })) })
          .setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid: jwk.kid, crit: ['beta'], beta: true })
          .sign(await importJWK(jwk, 'RS256'), { crit: { beta: true } });
      },
    ],
    [
      'if it has two such faults',
      `${notClear('org')} ${notClear('sub')}`,
      ({ canary }) => oidc.provider.forge({ sub: `\u0000${canary}`, org: canary }),
    ],
    ...[null, 7, true, {}, [7], [null], [[randomUUID()]], 'no-id', [randomUUID(), 'no-id']].map(
      (projects): [string, string, (material: Material) => Promise<string>] => [
        `if its projects are ${JSON.stringify(projects).replace(/[0-9a-f-]{36}/, 'id')}`,
        notClear('projects'),
        ({ org }) => oidc.provider.forge({ org, scope: 'connections:read', projects }),
      ],
    ),
  ])('%s', async (_, message, make) => {
    const [canary, canaryId] = [`canary-${randomUUID()}`, randomUUID()];
    const token = await make({ org: oidc.organisation.orgId, canary, canaryId });
    const { statuses, error, problem, everything } = await present(token);
    expect(statuses).toEqual([401, 401]);
    expect(error).toMatchObject({
      message,
      extensions: { code: 'UNAUTHENTICATED', remedy: expect.any(String) },
    });
    expect(problem).toMatchObject({ detail: message, code: 'UNAUTHENTICATED' });
    const kept = everything + oidc.server.logs() + (await oidc.server.dump());
    for (const part of [token, ...token.split('.').filter(({ length }) => length > 12), canary, canaryId]) {
      expect(kept).not.toContain(part);
    }
  });
});
