import { randomUUID } from 'node:crypto';
import { GraphQLClient } from 'graphql-request';
import { describe, expect, it, vi } from 'vitest';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { lastingData, testDatabaseUrl } from './testkit/database.ts';
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

describe.runIf(testDatabaseUrl)('an endpoint that changes while a server delivers to it', () => {
  /** Starts a server with an endpoint that has got one message. `hold` delays the server until the end of the transaction of `holder`. */
  async function start(stack: AsyncDisposableStack, input: Record<string, unknown> = {}) {
    const receiver = stack.use(await startReceiver());
    const server = await startTestServer({
      webhookIntervalMs: 50,
      config: { trustedInstanceHosts: new Set([receiver.hostPort]) },
    });
    stack.defer(() => server.close());
    const organisation = await server.newOrganisation();
    const rest = restClient(server.url, organisation.apiKey);
    const { id } = await createEndpoint(organisation.client, { url: `${receiver.url}/former`, ...input });
    const path = `/api/v1/webhook-endpoints/${id}`;
    expect(await rest('POST', `${path}/test`)).toMatchObject({ status: 200 });
    await receiver.waitFor(1, '/former');
    const isIdle = `select from webhook_endpoint where id = ? and lease_id is null and position > 0
        and not exists (select from webhook_message where endpoint_id = webhook_endpoint.id and status = 'PENDING')`;
    await until('the server has ended its delivery', async () => {
      const idle = await server.asOwner().execute(isIdle, [id]);
      return idle.length > 0 || undefined;
    });
    const holder = server.asOwner();
    stack.defer(() => holder.rollback().catch(() => undefined));
    const hold = async () => {
      await holder.begin();
      await holder.execute('lock table webhook_message in access exclusive mode');
      const observer = server.asOwner();
      await observer.execute('update webhook_endpoint set next_attempt_at = now() where id = ?', [id]);
      await until('the server waits for the messages', async () => {
        const waiting = await observer.execute(
          `select from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%webhook_message%'`,
        );
        return waiting.length > 0 || undefined;
      });
    };
    const change = async (changes: Record<string, unknown>) =>
      expect(await rest('PATCH', path, changes)).toMatchObject({ status: 200 });
    return { ...{ receiver, organisation, rest, holder }, hold, change };
  }

  it('gets a message that was made after the change at its new address', async () => {
    await using stack = new AsyncDisposableStack();
    const { receiver, holder, hold, change } = await start(stack);
    await hold();
    await change({ url: `${receiver.url}/new` });
    await holder.execute("update webhook_message set status = 'PENDING', next_attempt_at = now()");
    await holder.commit();
    await receiver.waitFor(1, '/new');
    expect(receiver.received.filter(({ path }) => path === '/former')).toHaveLength(1);
  });

  it('gets the events after the change that are of a type which the change has added', async () => {
    await using stack = new AsyncDisposableStack();
    const { receiver, rest, holder, hold, change } = await start(stack, {
      eventTypes: ['CONNECTION_DELETED'],
    });
    await hold();
    await change({ eventTypes: ['connection.created'] });
    const { id } = await createConnectionOverRest(rest);
    await holder.commit();
    const [, received] = await receiver.waitFor(2, '/former');
    expect(received?.event).toMatchObject({ type: 'connection.created', data: { connection: { id } } });
  });
});
