import { randomUUID } from 'node:crypto';
import { GraphQLClient } from 'graphql-request';
import { expect, it, vi } from 'vitest';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { lastingData } from './testkit/database.ts';
import { spawnServer, until } from './testkit/process.ts';
import { createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer } from './testkit/server.ts';
import { createEndpoint, listMessages, startReceiver, verifyWebhook } from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 180_000 });

it('delivers what was committed before SIGKILL from another server, with the same webhook-id', async () => {
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startReceiver());
  const apiKey = generateApiKey().reveal();
  const environment = {
    ...(await lastingData(stack)).environment,
    OKTA_STAND_IN: 'on',
    BOOTSTRAP_API_KEY: apiKey,
    TRUSTED_INSTANCE_HOSTS: receiver.hostPort,
  };
  const killed = stack.use(spawnServer(environment));
  const url = await killed.ready();
  const { id, secret } = await createEndpoint(toClient(url, apiKey), { url: receiver.url });
  // The receiver has got the message, and the server dies before it knows.
  receiver.behave(() => undefined);
  const { id: connectionId } = await createConnectionOverRest(restClient(url, apiKey));
  await receiver.waitFor(1);
  killed.kill('SIGKILL');
  await killed.ended();

  receiver.behave((_, response) => response.writeHead(204).end());
  const client = toClient(await stack.use(spawnServer(environment)).ready(), apiKey);
  const [first, second] = await receiver.waitFor(2);
  expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id']);
  expect(second?.event.data.connection).toMatchObject({ id: connectionId });
  verifyWebhook(secret, second as never);
  const [message] = await until('the message is delivered', async () => {
    const messages = await listMessages(client, id);
    return messages.every(({ status }) => status === 'DELIVERED') ? messages : undefined;
  });
  expect(message).toMatchObject({ type: 'CONNECTION_CREATED', attempts: [{ status: 204 }] });
});

it('delivers the event of an organisation while receivers of another hang that has 50,000 events', async () => {
  await using stack = new AsyncDisposableStack();
  const receiver = stack.use(await startReceiver());
  const server = await startTestServer({
    webhookIntervalMs: 50,
    outbound: { timeoutMs: 60_000 },
    config: { trustedInstanceHosts: new Set([receiver.hostPort]) },
  });
  stack.defer(() => server.close());
  const [flooding, other] = [await server.newOrganisation(), await server.newOrganisation()];
  let ended = 0;
  receiver.behave((request, response) => {
    if (request.path === '/other') response.writeHead(204).end();
    else response.once('close', () => (ended += 1));
  });
  for (let count = 0; count < 8; count += 1)
    await createEndpoint(flooding.client, { url: `${receiver.url}/hangs` });
  await createEndpoint(other.client, { url: `${receiver.url}/other` });
  await server.asOwner().execute(
    `insert into audit_event (org_id, seq, at, action, connection_id, connection_name, outcome, fields, previous_hash, hash)
      select ?, -number, now(), 'UPDATE_CONNECTION', gen_random_uuid(), 'flooding', 'OK', '{name}', '', ''
      from generate_series(1, 50000) as number`,
    [flooding.orgId],
  );
  await server
    .asOwner()
    .execute('update webhook_endpoint set position = -50001 where org_id = ?', [flooding.orgId]);
  await receiver.waitFor(8, '/hangs');
  const { name } = await createConnectionOverRest(restClient(server.url, other.apiKey), {
    name: `other-${randomUUID()}`,
  });
  const [received] = await receiver.waitFor(1, '/other');
  expect(received?.event.data.connection).toMatchObject({ name });
  // Nothing has waited for the time limit of a request that hangs.
  expect(ended).toBe(0);
  const [{ waiting }] = await server.asOwner().execute<[{ waiting: number }]>(
    `select max(count)::int as waiting from (select count(*) from webhook_message where org_id = ?
        group by endpoint_id) as each`,
    [flooding.orgId],
  );
  expect(waiting).toBeGreaterThan(0);
  expect(waiting).toBeLessThan(1_000);
});

function toClient(url: string, apiKey: string): GraphQLClient {
  return new GraphQLClient(`${url}/graphql`, { headers: { authorization: `Bearer ${apiKey}` } });
}
