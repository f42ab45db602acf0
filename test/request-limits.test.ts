import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { testDatabaseUrl } from './testkit/database.ts';
import { byIdQuery, type Created, createMutation, okta } from './testkit/operations.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { at, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

// These tests wait for timeouts of the server, concurrently.
vi.setConfig({ testTimeout: 90_000 });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Sends a start and then small pieces, and counts them; returns the response when the server closes the connection. */
async function dawdle(beginning: string, little: string, told = (_sent: number) => {}): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    answer += text;
  });
  // A client that sends while the server closes the connection may miss the response.
  socket.on('error', () => {});
  socket.write(beginning);
  let sent = 0;
  const drip = setInterval(() => {
    if (little) socket.write(little);
    sent += 1;
    told(sent);
  }, 200);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(drip);
  return answer;
}

const toldOrNot = /^(HTTP\/1\.1 408 |$)/;

const head = (path: string, apiKey: string) =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${apiKey}\r\ncontent-type: application/json\r\n`;

describe.concurrent('connection timeouts', () => {
  it('end a connection that sends headers slowly, sooner than one that sends a body slowly', async () => {
    const { apiKey } = await server.newOrganisation();
    const begun = Promise.withResolvers<void>();
    const body = dawdle(`${head('/graphql', apiKey)}content-length: 90000\r\n\r\n{`, ' ', (sent) => {
      if (sent === 10) begun.resolve();
    });
    await begun.promise;
    const headers = dawdle('GET /health/live HTTP/1.1\r\nhost: localhost\r\n', 'x-more: x\r\n');
    const first = await Promise.race([body.then(() => 'body'), headers.then(() => 'headers')]);
    expect(first).toBe('headers');
    expect(await headers).toMatch(toldOrNot);
    await body;
  });

  it('end a connection that sends nothing', async () => {
    expect(await dawdle('', '')).toMatch(toldOrNot);
  });

  it.each(['/graphql', '/api/v1/app-connections/okta'])(
    'end a connection that sends the body for %s slowly',
    async (path) => {
      const { apiKey } = await server.newOrganisation();
      expect(await dawdle(`${head(path, apiKey)}content-length: 90000\r\n\r\n{`, ' ')).toMatch(toldOrNot);
      expect(server.logs()).not.toContain('unexpected error');
    },
  );

  it('keep an idle connection longer than load balancers do', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sendRequest = async () => {
      const request = httpRequest(`${server.url}/health/live`, { agent }).end();
      const [response] = await once(request, 'response');
      response.resume();
      await once(response, 'end');
      return { port: request.socket?.localPort, kept: response.headers['keep-alive'] };
    };
    const first = await sendRequest();
    expect(first.kept).toBe('timeout=65');
    // The connection has been idle for longer than the timeout of headers.
    await dawdle('GET /health/live HTTP/1.1\r\nhost: localhost\r\n', 'x-more: x\r\n');
    expect((await sendRequest()).port).toBe(first.port);
    agent.destroy();
  });
});

describe('the limit of 16 kB for URL and headers', () => {
  const tooLong = 'x'.repeat(17_000);

  it.each([
    ['headers', '/graphql', { 'x-long': tooLong }],
    ['headers, for REST', '/api/v1/app-connections', { 'x-long': tooLong }],
    ['a query, for GraphQL', `/graphql?query=${tooLong}`, {}],
    ['a query, for REST', `/api/v1/app-connections?cursor=${tooLong}`, {}],
  ])('rejects %s', async (_, path, headers) => {
    const { apiKey } = await server.newOrganisation();
    const answer = await restClient(server.url, apiKey)(
      'GET',
      path,
      undefined,
      headers as Record<string, string>,
    );
    expect(answer.status).toBe(431);
  });

  it('accepts URL and headers below the limit', async () => {
    const { apiKey } = await server.newOrganisation();
    const sendRequest = restClient(server.url, apiKey);
    const { status } = await sendRequest('GET', '/api/v1/app-connections', undefined, {
      'x-long': 'x'.repeat(15_000),
    });
    expect(status).toBe(200);
    const cursor = await sendRequest('GET', `/api/v1/app-connections?cursor=${'x'.repeat(1_001)}`);
    expect(cursor).toMatchObject({ status: 422, body: { issues: [{ path: ['cursor'] }] } });
  });
});

describe.each([
  ['GraphQL', '/graphql'],
  ['POST of a connection over REST', '/api/v1/app-connections/okta'],
  ['POST of a project over REST', '/api/v1/projects'],
])('the body of %s', (_, path) => {
  const send = async (body: string, pieces: number) => {
    const { apiKey } = await server.newOrganisation();
    const chunks = [body, ...Array.from({ length: pieces - 1 }, () => ' ')].map(
      (text) => `${text.length.toString(16)}\r\n${text}\r\n`,
    );
    const framing = 'transfer-encoding: chunked\r\nconnection: close\r\n\r\n';
    return sendRaw(server.url, `${head(path, apiKey)}${framing}${chunks.join('')}0\r\n\r\n`);
  };

  it('is rejected in 2,001 chunks of any size', async () => {
    const { status, text } = await send('{}', 2_001);
    expect(status).toBe(413);
    expect(text).toContain('The body has more than 2000 chunks.');
    expect(text).toContain('Send larger chunks');
  });

  it('is read in 2,000 chunks', async () => {
    const { status } = await send('{}', 2_000);
    expect(status).toBeOneOf([400, 422]);
  });
});

describe.runIf(testDatabaseUrl)('a statement that is stuck in the database', () => {
  it('fails the request after a timeout, without the statement in the response', async () => {
    const organisation = await server.newOrganisation();
    const { createOktaConnection } = await organisation.client.request<Created>(createMutation, okta());
    const { id } = createOktaConnection.appConnection;
    const rest = restClient(server.url, organisation.apiKey);
    const holder = server.asOwner();
    await holder.begin();
    await holder.execute('lock table app_connection in access exclusive mode');

    const post = async (query: string, variables: object) => {
      const response = await fetch(server.graphqlUrl, {
        method: 'POST',
        headers: { authorization: `Bearer ${organisation.apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ query, variables }),
      });
      const text = await response.text();
      return { status: response.status, text, error: JSON.parse(text).errors?.[0]?.extensions };
    };
    // The lock is held until all of them have been answered.
    const [reading, making, list] = await Promise.all([
      post(byIdQuery, { id }),
      post(createMutation, okta({ name: 'another' })),
      rest('GET', '/api/v1/app-connections'),
    ]);
    await holder.rollback();
    for (const { status, error } of [reading, making]) {
      expect(status).toBe(503);
      expect(error).toMatchObject({ code: 'SERVICE_UNAVAILABLE', remedy: expect.any(String) });
    }
    expect(list.status).toBe(503);
    expect(at(list.body, 'code')).toBe('SERVICE_UNAVAILABLE');
    for (const { text } of [reading, making, list]) {
      expect(text).not.toMatch(/select|app_connection|statement|timeout|57014/i);
    }
    expect(server.logs()).toContain('57014');
    expect((await rest('GET', '/api/v1/app-connections')).status).toBe(200);
  });

  it('answers 503 to a request that gets no database connection', async () => {
    const [one, another, third, { client }] = await Promise.all([
      server.newOrganisation(),
      server.newOrganisation(),
      server.newOrganisation(),
      server.newOrganisation(),
    ]);
    // An organisation may hold four connections. Of the ten, one is for work that holds one already.
    const hold = (count: number, { orgId }: TestOrganisation) =>
      Array.from({ length: count }, () => server.database.forOrganisation(orgId));
    const holders = [...hold(4, one), ...hold(4, another), ...hold(1, third)];
    for (const holder of holders) await holder.begin();
    const error = await client.request('{ appConnections { totalCount } }').catch((error) => error);
    for (const holder of holders) await holder.rollback();
    expect(error.response.status).toBe(503);
    expect(error.response.errors[0].extensions.code).toBe('SERVICE_UNAVAILABLE');
  });
});
