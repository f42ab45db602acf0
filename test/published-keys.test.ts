import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { createDatabaseAttacker } from './testkit/database-attacker.ts';
import { createConnection, deleteMutation } from './testkit/operations.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { parcelDepot } from './testkit/second-app.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let organisation: TestOrganisation;
const apps = [...createApps({ trustedHosts: new Set() }), parcelDepot({ origin: 'https://depot.example' })];
beforeAll(async () => {
  server = await startTestServer({ apps });
  organisation = await server.newOrganisation();
});
afterAll(() => server.close());

const createWithKey = gql`
  mutation ($input: CreateParcelDepotConnectionInput!) {
    createParcelDepotConnection(input: $input) {
      appConnection {
        id credentials { ... on ParcelDepotKeyPairCredentials { jwksUrl keys { keyId publicJwk } } }
      }
    }
  }
`;

interface WithKey {
  id: string;
  credentials: { jwksUrl: string; keys: { keyId: string; publicJwk: object }[] };
}

let count = 0;
async function createKeyPair(): Promise<WithKey> {
  const input = { name: `depot-${count++}`, method: 'KEY_PAIR', credentials: { shelves: ['1'] } };
  const { createParcelDepotConnection } = await organisation.client.request<{
    createParcelDepotConnection: { appConnection: WithKey };
  }>(createWithKey, { input });
  return createParcelDepotConnection.appConnection;
}

const urlOf = (id: string) => `${server.url}/.well-known/app-connections/${id}/jwks.json`;

/** The headers that do not differ from response to response. */
function stableHeaders({ headers }: Response): Record<string, string> {
  const differing = [
    'connection',
    'content-length',
    'date',
    'keep-alive',
    'transfer-encoding',
    'x-request-id',
  ];
  return Object.fromEntries([...headers].filter(([name]) => !differing.includes(name)));
}

describe('GET /.well-known/app-connections/:id/jwks.json', () => {
  test('returns the public key of a connection, and nothing else, to anyone', async () => {
    const { credentials } = await createKeyPair();
    const response = await fetch(credentials.jwksUrl);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'public, max-age=60',
      etag: expect.stringMatching(/^"[\w-]{22}"$/),
      'x-content-type-options': 'nosniff',
    });
    expect(await response.json()).toEqual({ keys: credentials.keys.map(({ publicJwk }) => publicJwk) });
    expect(credentials.keys[0]?.publicJwk).not.toHaveProperty('d');
  });

  test('looks the same for an unknown id, a deleted connection and one without a key pair', async () => {
    const deleted = await createKeyPair();
    await organisation.client.request(deleteMutation, { id: deleted.id });
    const { id: withToken } = await createConnection(organisation, { name: 'with-a-token' });
    const answers = await Promise.all(
      [randomUUID(), deleted.id, withToken].map(async (id) => {
        const response = await fetch(urlOf(id));
        return {
          status: response.status,
          headers: stableHeaders(response),
          body: await response.text(),
        };
      }),
    );
    const [unknown] = answers;
    expect(unknown).toMatchObject({ status: 200, body: '{"keys":[]}' });
    for (const answer of answers) expect(answer).toEqual(unknown);
  });

  test('answers 304 without a body to a client that has the current keys, and HEAD with the headers of GET', async () => {
    const { credentials } = await createKeyPair();
    const first = await fetch(credentials.jwksUrl);
    const etag = first.headers.get('etag') ?? '';
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const again = await fetch(credentials.jwksUrl, { headers: { 'if-none-match': known } });
      expect([again.status, await again.text()]).toEqual([304, '']);
      expect(again.headers.get('etag')).toBe(etag);
      expect(again.headers.get('cache-control')).toBe('public, max-age=60');
    }
    const other = await fetch(credentials.jwksUrl, { headers: { 'if-none-match': '"other"' } });
    expect(other.status).toBe(200);
    const head = await fetch(credentials.jwksUrl, { method: 'HEAD' });
    expect(stableHeaders(head)).toEqual(stableHeaders(first));
    expect(await head.text()).toBe('');
  });

  test('refuses other methods, and paths that are almost the same do not exist', async () => {
    const { credentials, id } = await createKeyPair();
    const response = await fetch(credentials.jwksUrl, { method: 'POST' });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    for (const path of [`${id}/jwks.json/`, `${id}/jwks`, `${id}`, 'x/jwks.json', `${id}x/jwks.json`]) {
      const { status } = await fetch(`${server.url}/.well-known/app-connections/${path}`);
      expect([path, status]).toEqual([path, 404]);
    }
    expect((await fetch(`${credentials.jwksUrl}?now`)).status).toBe(200);
  });

  test('is reached during development through a tunnel, whose Host is not localhost', async () => {
    const { id } = await createKeyPair();
    const raw = (path: string) =>
      sendRaw(server.url, `GET ${path} HTTP/1.1\r\nHost: tunnel.example\r\nConnection: close\r\n\r\n`);
    expect((await raw(`/.well-known/app-connections/${id}/jwks.json`)).status).toBe(200);
    expect((await raw('/health/live')).status).toBe(421);
  });

  test('publishes no key that was written into the database outside this server', async () => {
    const { id, credentials } = await createKeyPair();
    const sql = createDatabaseAttacker(server);
    await sql(`update app_connection set keys = keys || jsonb_build_array(keys -> 0) where id = ?`, [id]);
    expect(await (await fetch(credentials.jwksUrl)).text()).toBe('{"keys":[]}');
  });

  test('is built from PUBLIC_URL, and limited for each client address', async () => {
    const limited = await startTestServer({
      apps,
      ...{ database: server.database, rootKeys: server.rootKey },
      config: { publicUrl: 'https://connections.example/base', basePath: '/base', rateLimits: true },
      rates: { unauthenticated: { points: 2, leaseSize: 1 } },
    });
    try {
      const { id } = await createKeyPair();
      const client = limited.clientFor(organisation.apiKey);
      const shown = await client.request(
        gql`query ($id: UUID!) {
          appConnection(id: $id) { credentials { ... on ParcelDepotKeyPairCredentials { jwksUrl } } }
        }`,
        { id },
      );
      expect(shown).toEqual({
        appConnection: {
          credentials: {
            jwksUrl: `https://connections.example/base/.well-known/app-connections/${id}/jwks.json`,
          },
        },
      });
      const statuses: number[] = [];
      for (let index = 0; index < 3; index += 1) {
        const { status } = await fetch(`${limited.url}/.well-known/app-connections/${id}/jwks.json`);
        statuses.push(status);
      }
      expect(statuses.at(-1)).toBe(429);
      expect(statuses).toContain(200);
    } finally {
      await limited.close();
    }
  });
});
