import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { rotateKeys } from '../src/key-rotation/rotate-keys.ts';
import { oauth } from '../src/oauth/oauth.ts';
import { purgeWebhookMessages } from '../src/webhooks/purge.ts';
import { openWebhookSecrets } from '../src/webhooks/secrets.ts';
import { WebhookEndpoint } from '../src/webhooks/webhook-endpoint.entity.ts';
import { WebhookMessage } from '../src/webhooks/webhook-message.entity.ts';
import { startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import {
  createConnection,
  deleteMutation,
  presetMutation,
  restoreMutation,
  updateMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';
import {
  createEndpoint,
  listMessages,
  startReceiver,
  verifyWebhook,
  type WebhookReceiver,
} from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 60_000 });

const stack = new AsyncDisposableStack();
let server: TestServer;
let okta: TestOkta;
let receiver: WebhookReceiver;
beforeAll(async () => {
  okta = stack.use(await startOkta());
  receiver = stack.use(await startReceiver());
  server = await startTestServer({
    webhookIntervalMs: 50,
    expiryIntervalMs: 50,
    revocationIntervalMs: 50,
    outbound: { timeoutMs: 6_000, lookup: async () => [{ address: '127.0.0.1', family: 4 }] },
    config: { trustedInstanceHosts: new Set([okta.hostPort, receiver.hostPort]) },
  });
  stack.defer(() => server.close());
});
afterAll(() => stack.disposeAsync());
afterEach(() => {
  receiver.behave((_, response) => response.writeHead(204).end());
  okta.behave(handleFakeOkta);
});

/** Creates an organisation with an endpoint at a path of its own. */
async function start(input: Record<string, unknown> = {}) {
  const organisation = await server.newOrganisation();
  const path = `/${randomUUID()}`;
  const endpoint = await createEndpoint(organisation.client, { url: receiver.url + path, ...input });
  const waitFor = (count: number) => receiver.waitFor(count, path);
  return {
    organisation,
    path,
    endpoint,
    waitFor,
    messages: () => listMessages(organisation.client, endpoint.id),
  };
}

/** Adds events to the trail of an organisation, and lets its endpoints begin with them. */
async function addEvents({ orgId }: TestOrganisation, count: number): Promise<void> {
  await server.asOwner().execute(
    `insert into audit_event (org_id, seq, at, action, connection_id, connection_name, outcome, fields, previous_hash, hash)
      select ?, -number, now(), 'UPDATE_CONNECTION', gen_random_uuid(), 'flooding', 'OK', '{name}', '', ''
      from generate_series(1, ?::int) as number`,
    [orgId, count],
  );
  await server
    .asOwner()
    .execute('update webhook_endpoint set position = ? where org_id = ?', [-count - 1, orgId]);
}

let names = 0;
const connect = (organisation: TestOrganisation, differing: object = {}, apiToken = 'a-good-token') => {
  names += 1;
  return createConnection(
    organisation,
    { name: `watched-${names}`, ...differing },
    { instanceUrl: okta.origin, apiToken },
  );
};
const setDescription = ({ client }: TestOrganisation, id: string, text: string) =>
  client.request(updateMutation, { id, input: { description: text } });
const verify = ({ client }: TestOrganisation, id: string) => client.request(verifyMutation, { id });

/** Moves the times of an endpoint and its messages into the past: the clock of retries is that of the rows. */
async function pass(endpointId: string, interval: string): Promise<void> {
  await server.asOwner().execute(
    `update webhook_message set next_attempt_at = next_attempt_at - ?::interval,
      failed_since = failed_since - ?::interval where endpoint_id = ?`,
    [interval, interval, endpointId],
  );
  await server.asOwner().execute(
    `update webhook_endpoint set next_attempt_at = next_attempt_at - ?::interval,
      failing_since = failing_since - ?::interval where id = ?`,
    [interval, interval, endpointId],
  );
}

/** Waits until an endpoint has a message in a state, and no server delivers to it. */
const settled = (organisation: TestOrganisation, id: string, status: string, attempts = 1) =>
  until(`a message is ${status}`, async () => {
    const found = (await listMessages(organisation.client, id)).find(
      (each) => each.status === status && each.attempts.length >= attempts,
    );
    const [row] = await server
      .asOwner()
      .execute<[{ isFree: boolean }]>(
        'select lease_id is null as "isFree" from webhook_endpoint where id = ?',
        [id],
      );
    return row.isFree ? found : undefined;
  });

async function auditActions({ client }: TestOrganisation): Promise<string[]> {
  const { auditEvents } = await client.request<{ auditEvents: { nodes: { action: string }[] } }>(
    '{ auditEvents(first: 100) { nodes { action } } }',
  );
  return auditEvents.nodes.map(({ action }) => action).reverse();
}

describe('a webhook endpoint', () => {
  it('gets the events of connections in order, signed by Standard Webhooks', async () => {
    const { organisation, endpoint, waitFor } = await start();
    const { id } = await connect(organisation);
    await setDescription(organisation, id, 'one');
    await setDescription(organisation, id, 'two');
    await organisation.client.request(deleteMutation, { id });
    const received = await waitFor(4);
    expect(received.map(({ event }) => event.type)).toEqual([
      'connection.created',
      'connection.updated',
      'connection.updated',
      'connection.deleted',
    ]);
    for (const each of received) verifyWebhook(endpoint.secret, each);
    expect(() =>
      verifyWebhook(`whsec_${Buffer.alloc(32).toString('base64')}`, received[0] as never),
    ).toThrow();
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(4);
    expect(received[0]?.event).toMatchObject({
      timestamp: expect.stringMatching(/^20.*Z$/),
      data: {
        orgId: organisation.orgId,
        outcome: 'OK',
        connection: {
          id,
          app: 'okta',
          method: 'api-token',
          verification: { status: 'VERIFIED', code: null },
        },
      },
    });
    for (const { body } of received) expect(body).not.toContain('a-good-token');
  });

  it('gets verified, failing with the diagnosis, and recovered', async () => {
    const { organisation, waitFor } = await start({
      eventTypes: ['CONNECTION_VERIFIED', 'CONNECTION_FAILING', 'CONNECTION_RECOVERED'],
    });
    const { id } = await connect(organisation);
    await verify(organisation, id);
    okta.behave(tokenRejected);
    await verify(organisation, id);
    okta.behave(handleFakeOkta);
    await verify(organisation, id);
    const received = await waitFor(3);
    expect(received.map(({ event }) => event.type)).toEqual([
      'connection.verified',
      'connection.failing',
      'connection.recovered',
    ]);
    expect(received[1]?.event.data).toMatchObject({ outcome: 'CREDENTIALS_REJECTED', connection: { id } });
  });

  it('gets changed policies, restorations, removals for good, and revocations of replaced tokens', async () => {
    const { organisation, waitFor } = await start({
      eventTypes: [
        ...['CONNECTION_POLICY_CHANGED', 'CONNECTION_DELETED', 'CONNECTION_RESTORED', 'CONNECTION_PURGED'],
        ...['CONNECTION_TOKEN_REVOKED', 'CONNECTION_TOKEN_NOT_REVOKED'],
      ],
    });
    const { client } = organisation;
    const { id } = await connect(organisation, {}, 'a-token-to-revoke');
    await client.request(presetMutation, { id, preset: 'LOGS_READ' });
    await client.request(deleteMutation, { id });
    await client.request(restoreMutation, { id });
    const replaced = { credentials: { apiToken: 'a-second-token' }, revokeOldToken: true };
    await client.request(updateMutation, { id, input: replaced });
    const [, , , revoked] = await waitFor(4);
    expect(revoked?.event).toMatchObject({ type: 'connection.token_revoked', data: { outcome: 'OK' } });
    await client.request(deleteMutation, { id, purge: true });
    const received = await waitFor(5);
    expect(received.map(({ event }) => event.type)).toEqual([
      ...['connection.policy_changed', 'connection.deleted', 'connection.restored'],
      ...['connection.token_revoked', 'connection.purged'],
    ]);
    for (const { event, body } of received) {
      expect(event.data).toMatchObject({ connection: { id } });
      expect(body).not.toContain('a-second-token');
    }
  });

  it('gets recovered if an update replaces credentials that did not work', async () => {
    const { organisation, waitFor } = await start({ eventTypes: ['CONNECTION_RECOVERED'] });
    const { id } = await connect(organisation);
    okta.behave(tokenRejected);
    await verify(organisation, id);
    okta.behave(handleFakeOkta);
    await organisation.client.request(updateMutation, {
      id,
      input: { credentials: { apiToken: 'another-token' } },
    });
    expect((await waitFor(1))[0]?.event.data.connection).toMatchObject({ id });
  });

  it('gets expiring and expired, with the time and the reason', async () => {
    const { organisation, waitFor } = await start({
      eventTypes: ['CONNECTION_EXPIRING', 'CONNECTION_EXPIRED'],
    });
    const { id } = await connect(organisation);
    for (const [index, days] of [20, 30].entries()) {
      await server.asOwner().execute(
        `update app_connection set verification_details = null, last_verified_at = now() - make_interval(days => ?),
          expires_at = now() + make_interval(days => 30 - ?), expiry_warning_at = now() where id = ?`,
        [days, days, id],
      );
      const received = await waitFor(index + 1);
      expect(received[index]?.event).toMatchObject({
        type: ['connection.expiring', 'connection.expired'][index],
        data: { connection: { id, expiryReason: 'UNUSED', expiresAt: expect.stringMatching(/Z$/) } },
      });
    }
  });

  it('gets only the events of its projects', async () => {
    const organisation = await server.newOrganisation();
    const path = `/${randomUUID()}`;
    const other = await organisation.newProject('Another');
    await createEndpoint(organisation.client, { url: receiver.url + path, projectIds: [other] });
    await connect(organisation, { projectId: organisation.projectId });
    await connect(organisation);
    const { id } = await connect(organisation, { projectId: other });
    const [first] = await receiver.waitFor(1, path);
    expect(first?.event.data.connection).toMatchObject({ id, projectId: other });
  });

  it('gets CloudEvents 1.0 on request', async () => {
    const { organisation, endpoint, waitFor } = await start({ format: 'CLOUDEVENTS' });
    const { id } = await connect(organisation);
    const [first] = await waitFor(1);
    verifyWebhook(endpoint.secret, first as never);
    expect(first?.headers['content-type']).toBe('application/cloudevents+json; charset=utf-8');
    expect(first?.event).toMatchObject({
      specversion: '1.0',
      id: first?.headers['webhook-id'],
      source: `/organisations/${organisation.orgId}`,
      type: 'connection.created',
      subject: id,
    });
  });

  it('gets a message in the format that the endpoint had when the message was made', async () => {
    const { organisation, endpoint, waitFor } = await start();
    await connect(organisation);
    const [standard] = await waitFor(1);
    const rest = restClient(server.url, organisation.apiKey);
    const path = `/api/v1/webhook-endpoints/${endpoint.id}`;
    expect(await rest('PATCH', path, { format: 'CLOUDEVENTS' })).toMatchObject({ status: 200 });
    const [message] = await listMessages(organisation.client, endpoint.id);
    const redelivery = await rest('POST', `${path}/redeliver`, { messageId: message?.id });
    expect(redelivery).toMatchObject({ status: 200 });
    const [, again] = await waitFor(2);
    expect(again?.body).toBe(standard?.body);
    expect(again?.headers['content-type']).toBe('application/json');
  });

  it('gets messages signed with all secrets of a day after rotations', async () => {
    const { organisation, endpoint, waitFor } = await start();
    const mutation = gql`
      mutation Rotate($id: UUID!) { rotateWebhookSecret(id: $id) { secret endpoint { previousSecretUntil } } }
    `;
    const rotate = async () => {
      const { rotateWebhookSecret: rotated } = await organisation.client.request<{
        rotateWebhookSecret: { secret: string; endpoint: { previousSecretUntil: string } };
      }>(mutation, { id: endpoint.id });
      return rotated;
    };
    // A response can be lost, and the rotation repeated.
    const rotated = [await rotate(), await rotate()];
    const until = rotated[1]?.endpoint.previousSecretUntil ?? '';
    expect(Math.round((Date.parse(until) - Date.now()) / 3_600_000)).toBe(24);
    await connect(organisation);
    const [first] = await waitFor(1);
    for (const { secret } of [endpoint, ...rotated]) verifyWebhook(secret, first as never);
    for (const { secret } of rotated) {
      expect(await server.dump()).not.toContain(secret.slice('whsec_'.length));
      expect(server.logs()).not.toContain(secret.slice('whsec_'.length));
    }
  });

  it('gets a test event on request, over REST', async () => {
    const { organisation, endpoint, waitFor } = await start();
    const rest = restClient(server.url, organisation.apiKey);
    expect((await rest('POST', `/api/v1/webhook-endpoints/${endpoint.id}/test`)).body).toMatchObject({
      message: { type: 'webhook.test', status: 'PENDING' },
    });
    expect((await waitFor(1))[0]?.event).toMatchObject({ type: 'webhook.test', data: { connection: null } });
  });
});

describe('a message whose receiver answers 2xx', () => {
  it('is delivered, whatever comes after the headers', async () => {
    const { organisation, messages } = await start();
    let count = 0;
    receiver.behave((_, response) => {
      count += 1;
      response.writeHead(count === 1 ? 200 : 202);
      if (count === 1) response.end('a'.repeat(1_000_000));
      else if (count === 2) response.write('a body that does not end');
      else response.write('a body that is cut off', () => response.destroy());
    });
    for (let connections = 0; connections < 3; connections += 1) await connect(organisation);
    await until('all are delivered', async () => {
      const statuses = (await messages()).map(({ status }) => status);
      return statuses.length === 3 && statuses.every((status) => status === 'DELIVERED') ? true : undefined;
    });
    expect(
      (await messages()).map(({ attempts }) => attempts.map(({ status, error }) => [status, error])),
    ).toEqual([[[200, null]], [[202, null]], [[202, null]]]);
  });
});

describe('a message that was not delivered', () => {
  it('is sent again with the same id, before later ones of its connection, and does not stop others', async () => {
    const { organisation, endpoint, path, messages } = await start();
    const { id } = await connect(organisation);
    await settled(organisation, endpoint.id, 'DELIVERED');
    receiver.behave((request, response) =>
      response.writeHead(request.event.data.connection?.id === id ? 503 : 204).end('a secret answer'),
    );
    await setDescription(organisation, id, 'one');
    await setDescription(organisation, id, 'two');
    await settled(organisation, endpoint.id, 'PENDING');
    const other = await connect(organisation);
    await until('the other connection has its event', async () =>
      (await messages()).find((each) => each.connectionId === other.id && each.status === 'DELIVERED'),
    );
    receiver.behave((_, response) => response.writeHead(200).end());
    await settled(organisation, endpoint.id, 'PENDING');
    await pass(endpoint.id, '10 seconds');
    await until('all are delivered', async () =>
      (await messages()).every(({ status }) => status === 'DELIVERED') ? true : undefined,
    );
    const ofConnection = (await messages()).filter((each) => each.connectionId === id);
    expect(ofConnection.map(({ attempts }) => attempts.map(({ status }) => status))).toEqual([
      [204],
      [503, 200],
      [200],
    ]);
    const ids = receiver.received
      .filter((each) => each.path === path && each.event.data.connection?.id === id)
      .map(({ headers }) => headers['webhook-id']);
    expect(ids).toEqual([
      ofConnection[0]?.webhookId,
      ...[ofConnection[1]?.webhookId, ofConnection[1]?.webhookId],
      ofConnection[2]?.webhookId,
    ]);
    expect(await server.dump()).not.toContain('a secret answer');
  });

  it('waits as long as Retry-After says, and so do the others of its endpoint', async () => {
    const { organisation, endpoint, path, waitFor } = await start();
    receiver.behave((_, response) => response.writeHead(429, { 'retry-after': '7200' }).end());
    await connect(organisation);
    const { nextAttemptAt } = await settled(organisation, endpoint.id, 'PENDING');
    expect(Math.round((Date.parse(nextAttemptAt ?? '') - Date.now()) / 60_000)).toBe(120);
    receiver.behave((_, response) => response.writeHead(204).end());
    const other = `/${randomUUID()}`;
    await createEndpoint(organisation.client, { url: receiver.url + other });
    const { id } = await connect(organisation);
    await setDescription(organisation, id, 'one');
    await receiver.waitFor(2, other);
    await setDescription(organisation, id, 'two');
    await receiver.waitFor(3, other);
    expect(receiver.received.filter((each) => each.path === path)).toHaveLength(1);
    // A test event does not wait.
    const rest = restClient(server.url, organisation.apiKey);
    await rest('POST', `/api/v1/webhook-endpoints/${endpoint.id}/test`);
    await until('the test event is delivered', async () =>
      (await waitFor(2)).some(({ event }) => event.type === 'webhook.test') ? true : undefined,
    );
  });

  it('has a log with the reason if there was no response', async () => {
    const { organisation, endpoint } = await start();
    receiver.behave(() => undefined);
    await connect(organisation);
    const { attempts } = await settled(organisation, endpoint.id, 'PENDING');
    expect(attempts).toMatchObject([{ status: null, error: 'there was no response within 6 s' }]);
  });

  it('is not sent to a name that resolves to a private address, or to the target of a redirect', async () => {
    const { organisation, endpoint } = await start({ url: 'https://rebound.example/webhooks' });
    await connect(organisation);
    const { attempts } = await settled(organisation, endpoint.id, 'PENDING');
    const error = 'the host name resolves to a private or reserved address';
    expect(attempts).toMatchObject([{ status: null, error }]);
    const redirected = await start();
    receiver.behave((_, response) =>
      response.writeHead(307, { location: `${receiver.url}/elsewhere` }).end(),
    );
    await connect(redirected.organisation);
    const message = await settled(redirected.organisation, redirected.endpoint.id, 'PENDING');
    expect(message.attempts).toMatchObject([{ status: 307, error: null }]);
    expect(receiver.received.some(({ path }) => path === '/elsewhere')).toBe(false);
  });

  it('is given up after three days, and its endpoint disabled with an audit event', async () => {
    const { organisation, endpoint, messages } = await start();
    receiver.behave((_, response) => response.writeHead(500).end());
    const { id } = await connect(organisation);
    await settled(organisation, endpoint.id, 'PENDING');
    // Not yet: two days.
    await pass(endpoint.id, '2 days');
    await settled(organisation, endpoint.id, 'PENDING', 2);
    expect(await auditActions(organisation)).not.toContain('DISABLE_WEBHOOK_ENDPOINT');
    await pass(endpoint.id, '1 day');
    await until('the endpoint is disabled', async () =>
      (await auditActions(organisation)).includes('DISABLE_WEBHOOK_ENDPOINT') ? true : undefined,
    );
    await setDescription(organisation, id, 'while it is disabled');
    receiver.behave((_, response) => response.writeHead(204).end());
    const enable = gql`
      mutation Enable($id: UUID!) { updateWebhookEndpoint(id: $id, input: { enabled: true }) { endpoint { disabledAt } } }
    `;
    expect(await organisation.client.request(enable, { id: endpoint.id })).toEqual({
      updateWebhookEndpoint: { endpoint: { disabledAt: null } },
    });
    await pass(endpoint.id, '1 day');
    await setDescription(organisation, id, 'afterwards');
    await until('both are delivered', async () => {
      const statuses = (await messages()).map(({ status }) => status);
      return statuses.length > 1 && statuses.every((status) => status === 'DELIVERED') ? true : undefined;
    });
    expect((await messages()).map(({ type }) => type)).toEqual(['CONNECTION_CREATED', 'CONNECTION_UPDATED']);
  });

  it('disables its endpoint with its last attempt, although the delays add up to less than three days', async () => {
    const { organisation, endpoint } = await start();
    receiver.behave((_, response) => response.writeHead(500).end());
    await connect(organisation);
    await settled(organisation, endpoint.id, 'PENDING');
    await server
      .asOwner()
      .execute('update webhook_message set attempts = 10 where endpoint_id = ?', [endpoint.id]);
    await pass(endpoint.id, '65 hours');
    await settled(organisation, endpoint.id, 'FAILED', 2);
    await until('the endpoint is disabled', async () =>
      (await auditActions(organisation)).includes('DISABLE_WEBHOOK_ENDPOINT') ? true : undefined,
    );
  });

  it('disables its endpoint at once if the receiver answers 410', async () => {
    const { organisation, endpoint } = await start();
    receiver.behave((_, response) => response.writeHead(410).end());
    await connect(organisation);
    await until('the endpoint is disabled', async () =>
      (await auditActions(organisation)).includes('DISABLE_WEBHOOK_ENDPOINT') ? true : undefined,
    );
    const [error] = await errorsOf(
      organisation.client.request(
        `mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }`,
        {
          id: endpoint.id,
        },
      ),
    );
    expect(error?.extensions.issues?.[0]?.message).toBe('The endpoint is disabled. Enable it first.');
  });
});

describe('an endpoint that is changed while its receiver hangs', () => {
  /** A batch of two messages, of which the first is under way. */
  async function startHanging() {
    const started = await start();
    const { organisation, endpoint, path } = started;
    receiver.behave((_, response) => response.writeHead(503).end());
    const { id } = await connect(organisation);
    await settled(organisation, endpoint.id, 'PENDING');
    await setDescription(organisation, id, 'one');
    const answers: (() => void)[] = [];
    receiver.behave((request, response) => {
      const answer = () => response.writeHead(204).end();
      // The endpoints of earlier tests may send something again.
      if (request.path === path) answers.push(answer);
      else answer();
    });
    await until('both wait', async () => (await started.messages())[1]);
    // On a busy machine, the first one has been refused more than once by now.
    await pass(endpoint.id, '1 hour');
    await until('a request is under way', () => answers.length > 0 || undefined);
    const countRequests = () => receiver.received.filter((each) => each.path === path).length;
    return { ...started, answer: () => answers.shift()?.(), sent: countRequests(), countRequests };
  }
  const update = ({ client }: TestOrganisation, id: string, input: object) =>
    client.request(
      'mutation ($id: UUID!, $input: UpdateWebhookEndpointInput!) { updateWebhookEndpoint(id: $id, input: $input) { endpoint { id } } }',
      { id, input },
    );

  it('has each type of events and each project once', async () => {
    const { organisation, endpoint } = await start({});
    const eventTypes = ['CONNECTION_FAILING', 'CONNECTION_FAILING'];
    const projectIds = [organisation.projectId, organisation.projectId];
    await update(organisation, endpoint.id, { eventTypes, projectIds });
    const answer = await restClient(server.url, organisation.apiKey)(
      'GET',
      `/api/v1/webhook-endpoints/${endpoint.id}`,
    );
    expect(answer.body).toMatchObject({
      endpoint: { eventTypes: ['connection.failing'], projectIds: [organisation.projectId] },
    });
  });

  it('gets nothing more at the old address', async () => {
    const { organisation, endpoint, answer, sent, countRequests } = await startHanging();
    const next = `/${randomUUID()}`;
    await update(organisation, endpoint.id, { url: receiver.url + next });
    answer();
    const [received] = await receiver.waitFor(1, next);
    expect(received?.event.type).toBe('connection.updated');
    expect(countRequests()).toBe(sent);
    answer();
  });

  it('gets nothing more once it is deleted, and the server logs no error', async () => {
    const { organisation, endpoint, answer, sent, countRequests } = await startHanging();
    await organisation.client.request(
      'mutation ($id: UUID!) { deleteWebhookEndpoint(id: $id) { deletedId } }',
      { id: endpoint.id },
    );
    answer();
    receiver.behave((_, response) => response.writeHead(204).end());
    const other = await start();
    await connect(other.organisation);
    await other.waitFor(1);
    expect(countRequests()).toBe(sent);
    expect(server.logs()).not.toContain('webhooks could not be delivered');
  });

  it('is not delivered to by another server before the request has ended', async () => {
    const { organisation, endpoint, answer } = await startHanging();
    const readLease = async () => {
      const [row] = await server
        .asOwner()
        .execute('select lease_id, lease_until from webhook_endpoint where id = ?', [endpoint.id]);
      return row;
    };
    const before = await readLease();
    for (const enabled of [false, true]) await update(organisation, endpoint.id, { enabled });
    expect(await readLease()).toEqual(before);
    answer();
    receiver.behave((_, response) => response.writeHead(204).end());
    await settled(organisation, endpoint.id, 'DELIVERED');
  });
});

describe('endpoints whose receivers hang', () => {
  it('do not hold up another endpoint of their organisation', async () => {
    const organisation = await server.newOrganisation();
    const [hanging, working] = [`/${randomUUID()}`, `/${randomUUID()}`];
    receiver.behave((request, response) => request.path === hanging || response.writeHead(204).end());
    for (let count = 0; count < 4; count += 1)
      await createEndpoint(organisation.client, { url: receiver.url + hanging });
    // One request at a time, each until its time limit, takes longer than this test.
    await addEvents(organisation, 200);
    await receiver.waitFor(4, hanging);
    await createEndpoint(organisation.client, { url: receiver.url + working });
    await connect(organisation);
    await receiver.waitFor(1, working);
  });
});

describe('messages that wait for their next attempt', () => {
  it.each(['one', 'those of a span of time'])(
    'are sent at once on request, %s, in order, for a receiver that works again',
    async (which) => {
      const { organisation, endpoint, path, waitFor, messages } = await start();
      receiver.behave((request, response) =>
        response.writeHead(request.path === path ? 503 : 204, { 'retry-after': '80000' }).end(),
      );
      const { id } = await connect(organisation);
      await until('an attempt has failed', async () => (await messages())[0]?.attempts[0]);
      // It waits behind the first one.
      await setDescription(organisation, id, 'one');
      receiver.behave((_, response) => response.writeHead(204).end());
      const redeliver = gql`
        mutation Redeliver($endpointId: UUID!, $messageId: UUID, $from: DateTime) {
          redeliverWebhooks(endpointId: $endpointId, messageId: $messageId, from: $from) { count }
        }
      `;
      const [first] = await messages();
      const from = new Date(Date.now() - 600_000).toISOString();
      const variables: Record<string, unknown> = {
        endpointId: endpoint.id,
        ...(which === 'one' ? { messageId: first?.id } : { from }),
      };
      expect(await organisation.client.request(redeliver, variables)).toEqual({
        redeliverWebhooks: { count: 1 },
      });
      await settled(organisation, endpoint.id, 'DELIVERED');
      const received = await waitFor(3);
      expect(received.map(({ event }) => event.type)).toEqual([
        ...['connection.created', 'connection.created', 'connection.updated'],
      ]);
      expect(received[1]?.headers['webhook-id']).toBe(received[0]?.headers['webhook-id']);
    },
  );
});

describe('messages that were delivered', () => {
  it('are sent again on request, one or those of a span of time, with the same ids', async () => {
    const { organisation, endpoint, waitFor, messages } = await start();
    const { id } = await connect(organisation);
    await setDescription(organisation, id, 'one');
    await waitFor(2);
    await settled(organisation, endpoint.id, 'DELIVERED');
    const before = await messages();
    const redeliver = gql`
      mutation Redeliver($endpointId: UUID!, $messageId: UUID, $from: DateTime) {
        redeliverWebhooks(endpointId: $endpointId, messageId: $messageId, from: $from) { count }
      }
    `;
    const one = { endpointId: endpoint.id, messageId: before[1]?.id };
    expect(await organisation.client.request(redeliver, one)).toEqual({ redeliverWebhooks: { count: 1 } });
    const [, , third] = await waitFor(3);
    expect(third?.headers['webhook-id']).toBe(before[1]?.webhookId);
    await until('it is delivered again', async () =>
      (await messages())[1]?.attempts.length === 2 ? true : undefined,
    );
    const from = new Date(Date.now() - 600_000).toISOString();
    expect(await organisation.client.request(redeliver, { endpointId: endpoint.id, from })).toEqual({
      redeliverWebhooks: { count: 2 },
    });
    const received = await waitFor(5);
    expect(received.slice(3).map(({ headers }) => headers['webhook-id'])).toEqual(
      before.map(({ webhookId }) => webhookId),
    );
    const [error] = await errorsOf(organisation.client.request(redeliver, { endpointId: endpoint.id }));
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    const rest = restClient(server.url, organisation.apiKey);
    const span = { from: '2026-12-02T00:00:00Z', to: '2026-12-01T00:00:00Z' };
    const reversed = await rest('POST', `/api/v1/webhook-endpoints/${endpoint.id}/redeliver`, span);
    expect(reversed).toMatchObject({ status: 422, body: { issues: [{ path: ['to'] }] } });
  });

  it('are sent again a thousand at a time', async () => {
    const { organisation, endpoint } = await start();
    await server.asOwner().execute(
      `insert into webhook_message (id, org_id, endpoint_id, seq, type, occurred_at, body, created_at, status, attempts, next_attempt_at, log, mac)
        select gen_random_uuid(), ?, ?, number, 'connection.updated', '2026-11-01'::timestamptz + number * interval '1 second', '',
          now(), 'DELIVERED', 1, now(), '[]', '' from generate_series(1, 1005) as number`,
      [organisation.orgId, endpoint.id],
    );
    const rest = restClient(server.url, organisation.apiKey);
    const redeliver = async (from: string) =>
      (await rest('POST', `/api/v1/webhook-endpoints/${endpoint.id}/redeliver`, { from })).body;
    const nextFrom = '2026-11-01T00:16:41.000Z';
    expect(await redeliver('2026-11-01T00:00:00Z')).toEqual({ count: 1_000, nextFrom });
    expect(await redeliver(nextFrom)).toEqual({ count: 5, nextFrom: null });
  });

  it('are removed after seven days', async () => {
    const { organisation, endpoint, messages } = await start();
    await connect(organisation);
    await settled(organisation, endpoint.id, 'DELIVERED');
    const makeOlder = (days: number) =>
      changeRows(server, WebhookMessage, { endpointId: endpoint.id }, ({ createdAt }) => ({
        createdAt: new Date(createdAt.getTime() - days * 86_400_000),
      }));
    await makeOlder(6);
    await purgeWebhookMessages(server);
    expect(await messages()).toHaveLength(1);
    await makeOlder(2);
    await purgeWebhookMessages(server);
    expect(await messages()).toEqual([]);
  });
});

describe('creating a webhook endpoint', () => {
  it('refuses addresses to which this server does not connect, and URLs with credentials', async () => {
    const { client } = await server.newOrganisation();
    const refusal = async (url: string) => {
      const [error] = await errorsOf(createEndpoint(client, { url }));
      return [error?.extensions.code, error?.extensions.issues?.[0]?.path];
    };
    for (const url of [
      'https://10.0.0.1/hook',
      'http://example.com/hook',
      'https://[::1]/',
      'https://127.0.0.1:1/',
      'https://0x7f.1/',
      'https://2130706433/',
      'https://[::ffff:127.0.0.1]/',
      'https://LOCALHOST./',
    ])
      expect(await refusal(url)).toEqual(['HOST_NOT_ALLOWED', ['input', 'url']]);
    for (const url of [
      'ftp://example.com',
      'nothing',
      'https://user:password@example.com',
      'https://example.com/#a',
    ])
      expect(await refusal(url)).toEqual(['BAD_USER_INPUT', ['input', 'url']]);
  });

  it('needs webhooks:write, and a credential that is not limited to projects', async () => {
    const { newKey, projectId } = await server.newOrganisation();
    const url = receiver.url;
    for (const key of [
      await newKey(['webhooks:read', 'connections:write', 'access:admin']),
      await newKey(['webhooks:write'], { projectIds: [projectId] }),
    ]) {
      const [error] = await errorsOf(createEndpoint(server.clientFor(key), { url }));
      expect(error?.extensions.code).toBe('FORBIDDEN');
    }
  });
});

it('rotation of encryption keys re-encrypts the secrets of webhook endpoints', async () => {
  const { organisation, endpoint } = await start();
  const readEndpoint = async () => {
    const em = server.asOwner();
    const where = { id: endpoint.id, orgId: organisation.orgId };
    return em.findOneOrFail(WebhookEndpoint, where, { populate: ['sealedSecrets', 'mac'] });
  };
  const before = await readEndpoint();
  const vault = server.restartedVault(rootKey('next'));
  const apps = createApps({ trustedHosts: new Set(), oauth });
  const deps = { database: server.database, vault, apps };
  expect(await rotateKeys(deps, { reseal: true, onProgress: () => undefined })).toMatchObject({
    failures: [],
  });
  const after = await readEndpoint();
  expect(after.dataKeyId).not.toBe(before.dataKeyId);
  const { current } = await openWebhookSecrets(vault, server.asOwner(), after);
  expect(current.reveal()).toBe(endpoint.secret);
});
