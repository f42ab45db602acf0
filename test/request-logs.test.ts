import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMutation, okta } from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Returns the log lines of a request. */
function findRequestLines(of: TestServer, requestId: string | null): Record<string, unknown>[] {
  return of
    .logs()
    .split('\n')
    .filter((line) => line.includes('"msg":"request"') && line.includes(`${requestId}`))
    .map((line) => JSON.parse(line));
}

async function send(of: TestServer, apiKey: string, query: string, variables = {}) {
  const response = await fetch(of.graphqlUrl, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  return { requestId: response.headers.get('x-request-id'), answer: await response.json() };
}

describe('the request log', () => {
  it('has one line per request, with the request id of the response', async () => {
    const { apiKey, orgId } = await server.newOrganisation();
    const { requestId } = await send(server, apiKey, createMutation, okta({ description: 'seen-nowhere' }));
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    await expect.poll(() => findRequestLines(server, requestId)).toHaveLength(1);
    expect(findRequestLines(server, requestId)[0]).toEqual({
      level: 'info',
      time: expect.any(String),
      requestId,
      address: '127.0.0.1',
      method: 'POST',
      status: 200,
      operation: 'Create',
      orgId,
      keyId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      ms: expect.any(Number),
      outcome: 'OK',
      msg: 'request',
    });
    expect(server.logs()).not.toContain('seen-nowhere');
  });

  it('contains the error code', async () => {
    const { apiKey } = await server.newOrganisation();
    const { requestId } = await send(server, apiKey, createMutation, okta({}, { apiToken: 'revoked' }));
    await expect.poll(() => findRequestLines(server, requestId)).toHaveLength(1);
    expect(findRequestLines(server, requestId)[0]?.outcome).toBe('CREDENTIALS_REJECTED');
  });

  it('marks an internal error, without details in the response, under its request id', async () => {
    const broken = await startTestServer();
    const organisation = await broken.newOrganisation();
    await broken.asOwner().execute('drop table app_connection');
    const [error] = await errorsOf(organisation.client.request(createMutation, okta()));
    expect(error).toMatchObject({
      message: 'The server failed unexpectedly.',
      path: ['createOktaConnection'],
      extensions: {
        code: 'INTERNAL_SERVER_ERROR',
        requestId: expect.any(String),
        remedy: expect.any(String),
      },
    });
    expect(JSON.stringify(error)).not.toMatch(/app_connection|select|TableNotFound/);
    const line = broken
      .logs()
      .split('\n')
      .find((each) => each.includes('unexpected error'));
    expect(line).toContain(String(error?.extensions.requestId));
    expect(line).toContain('42P01');
    await broken.close();
  });
});
