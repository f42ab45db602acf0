import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { testDatabaseUrl } from './testkit/database.ts';
import { byIdQuery, type Created, createMutation, okta } from './testkit/operations.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { at, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

// These wait for what the server waits for, and all at once.
vi.setConfig({ testTimeout: 90_000 });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Sends a beginning and then a little now and then, telling how often; gives what is answered before the server hangs up. */
async function dawdle(beginning: string, little: string, told = (_sent: number) => {}): Promise<string> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    answer += text;
  });
  // Whoever is hung up on while sending may hear nothing of the answer.
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

describe.concurrent('a connection is not held for nothing', () => {
  test('by who sends headers little by little, for which there is less time than for a body', async () => {
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

  test('by who sends nothing', async () => {
    expect(await dawdle('', '')).toMatch(toldOrNot);
  });

  test.each(['/graphql', '/api/v1/app-connections/okta'])(
    'by who sends the body for %s little by little',
    async (path) => {
      const { apiKey } = await server.newOrganisation();
      expect(await dawdle(`${head(path, apiKey)}content-length: 90000\r\n\r\n{`, ' ')).toMatch(toldOrNot);
      expect(server.logs()).not.toContain('unexpected error');
    },
  );

  test('but one that is idle is kept, and longer than load balancers keep theirs', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = async () => {
      const request = httpRequest(`${server.url}/health/live`, { agent }).end();
      const [response] = await once(request, 'response');
      response.resume();
      await once(response, 'end');
      return { port: request.socket?.localPort, kept: response.headers['keep-alive'] };
    };
    const first = await ask();
    expect(first.kept).toBe('timeout=65');
    // By then it has been idle for as long as headers may take.
    await dawdle('GET /health/live HTTP/1.1\r\nhost: localhost\r\n', 'x-more: x\r\n');
    expect((await ask()).port).toBe(first.port);
    agent.destroy();
  });
});

describe('what comes before the body may have 16 kB:', () => {
  const tooLong = 'x'.repeat(17_000);

  test.each([
    ['headers', '/graphql', { 'x-long': tooLong }],
    ['headers, for REST', '/api/v1/app-connections', { 'x-long': tooLong }],
    ['a query, for GraphQL', `/graphql?query=${tooLong}`, {}],
    ['a query, for REST', `/api/v1/app-connections?cursor=${tooLong}`, {}],
  ])('%s', async (_, path, headers) => {
    const { apiKey } = await server.newOrganisation();
    const answer = await restClient(server.url, apiKey)(
      'GET',
      path,
      undefined,
      headers as Record<string, string>,
    );
    expect(answer.status).toBe(431);
  });

  test('and what is within that is answered', async () => {
    const { apiKey } = await server.newOrganisation();
    const ask = restClient(server.url, apiKey);
    const { status } = await ask('GET', '/api/v1/app-connections', undefined, {
      'x-long': 'x'.repeat(15_000),
    });
    expect(status).toBe(200);
    const cursor = await ask('GET', `/api/v1/app-connections?cursor=${'x'.repeat(1_001)}`);
    expect(cursor).toMatchObject({ status: 422, body: { issues: [{ path: ['cursor'] }] } });
  });
});

describe.each([
  ['GraphQL', '/graphql'],
  ['REST, to create', '/api/v1/app-connections/okta'],
  ['REST, to make a project', '/api/v1/projects'],
])('a body for %s', (_, path) => {
  const send = async (body: string, pieces: number) => {
    const { apiKey } = await server.newOrganisation();
    const chunks = [body, ...Array.from({ length: pieces - 1 }, () => ' ')].map(
      (text) => `${text.length.toString(16)}\r\n${text}\r\n`,
    );
    const framing = 'transfer-encoding: chunked\r\nconnection: close\r\n\r\n';
    return sendRaw(server.url, `${head(path, apiKey)}${framing}${chunks.join('')}0\r\n\r\n`);
  };

  test('in 2,001 pieces is refused, however small they are', async () => {
    const { status, text } = await send('{}', 2_001);
    expect(status).toBe(413);
    expect(text).toContain('The body comes in more than 2000 pieces.');
    expect(text).toContain('Send it in larger chunks');
  });

  test('in 2,000 pieces is read', async () => {
    const { status } = await send('{}', 2_000);
    expect(status).toBeOneOf([400, 422]);
  });
});

describe.runIf(testDatabaseUrl)('when a statement gets stuck in the database', () => {
  test('whoever waits for it is told so in time, and nothing of the statement', async () => {
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

  test('a request that gets no connection to the database, because others hold them, is a 503', async () => {
    const [one, another, { client }] = await Promise.all([
      server.newOrganisation(),
      server.newOrganisation(),
      server.newOrganisation(),
    ]);
    // An organisation may hold four connections. Of the ten, one counts rates, and one is for work that holds one already.
    const four = ({ orgId }: TestOrganisation) =>
      Array.from({ length: 4 }, () => server.database.forOrganisation(orgId));
    const holders = [...four(one), ...four(another)];
    for (const holder of holders) await holder.begin();
    const error = await client.request('{ appConnections { totalCount } }').catch((error) => error);
    for (const holder of holders) await holder.rollback();
    expect(error.response.status).toBe(503);
    expect(error.response.errors[0].extensions.code).toBe('SERVICE_UNAVAILABLE');
  });
});
