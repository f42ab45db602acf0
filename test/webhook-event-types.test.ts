import { readFile } from 'node:fs/promises';
import { gql } from 'graphql-request';
import { expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { certifyHere, makeCertificates, trust } from './testkit/certificates.ts';
import { makeDue } from './testkit/check-schedule.ts';
import { moveClock, restoreClock } from './testkit/move-clock.ts';
import { behavingAt, failing, startOkta, tokenRejected } from './testkit/okta.ts';
import { startOktaStandIn } from './testkit/okta-standin.ts';
import {
  createConnection,
  deleteMutation,
  presetMutation,
  restoreMutation,
  updateMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { RotatingApp } from './testkit/rotating-connection.ts';
import { startTestServer } from './testkit/server.ts';
import {
  createEndpoint,
  type ReceivedWebhook,
  startReceiver,
  verifyWebhook,
} from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 180_000 });

/** Returns the types in the table of the documentation. */
async function readDocumentedTypes(): Promise<string[]> {
  const text = await readFile(new URL('../docs/webhooks.md', import.meta.url), 'utf8');
  const [, section = ''] = /^## Events\n(.*?)^## /ms.exec(text) ?? [];
  const cells = [...section.matchAll(/^\| (`.*?) \|/gm)].map(([, cell = '']) => cell);
  return cells.flatMap((cell) => [...cell.matchAll(/`(.+?)`/g)].map(([, type = '']) => type)).sort();
}

it('a webhook endpoint gets every type of event that the documentation and the schema list, and no other', async () => {
  await using stack = new AsyncDisposableStack();
  const { ca } = await makeCertificates();
  stack.use(trust(ca));
  // The certificate ends within 7 days.
  const okta = stack.use(await startOkta({ tls: await certifyHere(ca, { days: 5, since: 60 }) }));
  const standIn = stack.use(await startOktaStandIn());
  const receiver = stack.use(await startReceiver());
  const server = await startTestServer({
    ...{ webhookIntervalMs: 50, expiryIntervalMs: 100, revocationIntervalMs: 50, checkIntervalMs: 100 },
    config: { trustedInstanceHosts: new Set([okta.hostPort, standIn.hostPort, receiver.hostPort]) },
  });
  stack.defer(() => server.close());
  stack.defer(restoreClock);
  const organisation = await server.newOrganisation();
  const { client, orgId } = organisation;
  const endpoint = await createEndpoint(client, { url: receiver.url });
  const run = (sql: string, ...values: unknown[]) => server.asOwner().execute(sql, values);
  const gets = async (type: string) => {
    const isIt = ({ event }: ReceivedWebhook) => event.type === type;
    const found = await until(`the event ${type}`, () => receiver.received.find(isIt), 60_000);
    verifyWebhook(endpoint.secret, found);
    return found;
  };
  const connect = (name: string, apiToken: string) =>
    createConnection(organisation, { name }, { instanceUrl: okta.origin, apiToken });
  const update = (id: string, input: object) => client.request(updateMutation, { id, input });
  const replaceToken = (id: string, apiToken: string) =>
    update(id, { credentials: { apiToken }, revokeOldToken: true });

  const { id } = await connect('one', 'first-of-all-events');
  await gets('connection.created');
  await update(id, { checkEvery: 0 });
  await gets('connection.updated');
  await client.request(presetMutation, { id, preset: 'LOGS_READ' });
  await gets('connection.policy_changed');
  for (const [behaviour, type] of [
    [handleFakeOkta, 'connection.verified'],
    [tokenRejected, 'connection.failing'],
    [handleFakeOkta, 'connection.recovered'],
  ] as const) {
    okta.behave(behaviour);
    await client.request(verifyMutation, { id });
    await gets(type);
  }
  await client.request(deleteMutation, { id });
  await gets('connection.deleted');
  await client.request(restoreMutation, { id });
  await gets('connection.restored');
  for (const [days, type] of [
    [20, 'connection.expiring'],
    [30, 'connection.expired'],
  ] as const) {
    await run(
      `update app_connection set verification_details = null, last_verified_at = now() - make_interval(days => ?),
        expires_at = now() + make_interval(days => 30 - ?), expiry_warning_at = now() where id = ?`,
      ...[days, days, id],
    );
    await gets(type);
  }
  await replaceToken(id, 'second-of-all-events');
  await gets('connection.token_revoked');

  await (await RotatingApp.create(standIn, organisation, { byUrl: true })).rotate();
  await gets('connection.key_rotation_started');
  await gets('connection.key_rotated');

  await gets('host.certificate_expiring');
  const two = await connect('two', 'third-of-all-events');
  for (const [behaviour, type] of [
    [failing(503), 'host.unreachable'],
    [handleFakeOkta, 'host.recovered'],
  ] as const) {
    okta.behave(behaviour);
    await makeDue(server, two.id);
    await run('update host_outage set next_check_at = now() where org_id = ?', orgId);
    await gets(type);
  }

  const test = gql`mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }`;
  await client.request(test, { id: endpoint.id });
  await gets('webhook.test');

  okta.behave(behavingAt({ '/api/v1/api-tokens/current': failing(500) }));
  await replaceToken(id, 'fourth-of-all-events');
  moveClock(25 * 3_600_000);
  expect((await gets('connection.token_not_revoked')).event.data).toMatchObject({
    outcome: 'UPSTREAM_UNREACHABLE',
    changedFields: ['revocation'],
    connection: { id, verification: { status: 'VERIFIED' } },
  });
  restoreClock();
  await client.request(deleteMutation, { id, purge: true });
  await gets('connection.purged');

  const received = [...new Set(receiver.received.map(({ event }) => event.type))].sort();
  expect(received).toEqual(await readDocumentedTypes());
  const { type } = await client.request<{ type: { enumValues: { name: string }[] } }>(
    '{ type: __type(name: "WebhookEventType") { enumValues { name } } }',
  );
  const listed = type.enumValues.map(({ name }) => name).sort();
  expect(received.map((each) => each.replace('.', '_').toUpperCase()).sort()).toEqual(listed);
});
