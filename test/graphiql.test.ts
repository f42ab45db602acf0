import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const apiKey = 'the-key-that-is-in-no-page';
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ signInKey: new Secret(apiKey) });
});
afterAll(() => server.close());

/** Requests the page with a given Host header, which fetch cannot set. */
function open(host: string, of = server): Promise<{ status: number; page: string }> {
  return new Promise((resolve, reject) => {
    const headers = { accept: 'text/html', host };
    httpRequest(of.graphqlUrl, { headers }, async (response) => {
      const chunks = await response.toArray();
      resolve({ status: response.statusCode ?? 0, page: Buffer.concat(chunks).toString() });
    })
      .on('error', reject)
      .end();
  });
}

describe('GraphiQL', () => {
  it('loads with a sample query and variables, and requests no other origin', async () => {
    const { status, page } = await open(new URL(server.url).host);
    expect(status).toBe(200);
    expect(page).toContain('createOktaConnection(input: $input)');
    expect(page).toContain('7ffbb072-2575-495a-b5b0-127f88caef78');
    expect(page).not.toMatch(/<(script|link|img)[^>]+(src|href)="https?:/);
  });

  it.each(['evil.example', 'evil.example:4000', 'localhost.evil.example', '127.0.0.1.evil.example'])(
    'rejects the Host %s (DNS rebinding)',
    async (host) => {
      const { status, page } = await open(host);
      expect(status).toBe(421);
      expect(page).not.toContain(apiKey);
    },
  );

  it.each(['localhost', 'LOCALHOST:80', '127.0.0.1:4000', '[::1]:4000'])(
    'accepts the Host %s',
    async (host) => {
      expect((await open(host)).status).toBe(200);
    },
  );

  it('sends no CORS headers to another origin', async () => {
    const { apiKey: key } = await server.newOrganisation();
    const response = await fetch(server.graphqlUrl, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        origin: 'https://evil.example',
      },
      body: JSON.stringify({ query: '{ __typename }' }),
    });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(response.headers.get('x-frame-options')).toBe('DENY');
  });
});
