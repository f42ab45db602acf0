import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { Secret } from '../src/common/secret.ts';
import { rotateKeys } from '../src/key-rotation/rotate-keys.ts';
import { oauth } from '../src/oauth/oauth.ts';
import { type MailServer, mailPassword, startMailServer } from './testkit/mail-server.ts';
import { answering, startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { createConnection, updateMutation, verifyMutation } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import {
  createEndpoint,
  listMessages,
  startReceiver,
  type WebhookReceiver,
} from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 180_000 });

const stack = new AsyncDisposableStack();
let server: TestServer;
let okta: TestOkta;
let slack: WebhookReceiver;
let mail: MailServer;
beforeAll(async () => {
  okta = stack.use(await startOkta());
  slack = stack.use(await startReceiver());
  mail = stack.use(await startMailServer());
  server = await startTestServer({
    ...{ webhookIntervalMs: 50, expiryIntervalMs: 50 },
    config: {
      publicUrl: 'https://connections.example',
      trustedInstanceHosts: new Set([okta.hostPort, slack.hostPort]),
      mail: { url: new Secret(mail.url), from: 'app-connections@example.com' },
    },
  });
  stack.defer(() => server.close());
});
afterAll(() => stack.disposeAsync());
afterEach(() => okta.behave(handleFakeOkta));

/** Creates an organisation with an endpoint for people. */
async function start(input: Record<string, unknown>) {
  const organisation = await server.newOrganisation();
  const endpoint = await createEndpoint(organisation.client, input);
  return { organisation, id: endpoint.id };
}

const connect = (organisation: TestOrganisation, name: string) =>
  createConnection(organisation, { name }, { instanceUrl: okta.origin, apiToken: 'a-good-token' });

/** Waits until events wait, and lets their time pass. */
async function pass(organisation: TestOrganisation, id: string, count: number): Promise<void> {
  await until(`${count} events wait`, async () => {
    const messages = await listMessages(organisation.client, id);
    return messages.filter(({ status }) => status === 'PENDING').length === count || undefined;
  });
  await server
    .asOwner()
    .execute(
      `update webhook_message set next_attempt_at = now() where endpoint_id = ? and status = 'PENDING'`,
      [id],
    );
  await server.asOwner().execute('update webhook_endpoint set next_attempt_at = now() where id = ?', [id]);
}

const settled = (organisation: TestOrganisation, id: string, count: number) =>
  until(`${count} events are delivered`, async () => {
    const messages = await listMessages(organisation.client, id);
    return messages.filter(({ status }) => status === 'DELIVERED').length === count ? messages : undefined;
  });

describe('notifications for people', () => {
  it('by e-mail combine the events of a minute, with the status, the remedy and a link', async () => {
    const { organisation, id } = await start({ url: 'mailto:team@example.com', format: 'EMAIL' });
    const connection = await connect(organisation, 'payroll');
    await organisation.client.request(updateMutation, { id: connection.id, input: { description: 'New' } });
    okta.behave(tokenRejected);
    await organisation.client.request(verifyMutation, { id: connection.id });
    const before = mail.received.length;
    await pass(organisation, id, 3);
    const messages = await settled(organisation, id, 3);
    const received = mail.received.slice(before);
    expect(received).toMatchObject([
      { to: ['team@example.com'], subject: 'App Connections: 3 events', user: 'sender' },
    ]);
    const [events, end] = received[0]?.text.split('\n\n') ?? [];
    expect(end).toContain('To stop all e-mails of this organisation to this address: https://');
    const lines = events?.split('\n');
    expect(lines).toEqual([
      expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d UTC {2}payroll was created\. https:\S+$/),
      expect.stringContaining('payroll was updated.'),
      expect.stringMatching(/payroll does not work\. .*token.* https:\/\/connections\.example\/\S+$/),
    ]);
    // The dashboard has its path in the fragment.
    expect(lines?.[2]).toContain(
      `https://connections.example/#/organisation/integrations/app-connections/${connection.id}`,
    );
    expect(messages.map(({ attempts }) => attempts)).toMatchObject(Array(3).fill([{ status: 250 }]));
  });

  it('by Slack escape its special characters, and never show the URL', async () => {
    const secret = randomUUID();
    const url = `${slack.url}/services/${secret}`;
    const { organisation, id } = await start({ url, format: 'SLACK' });
    const { id: connectionId } = await connect(organisation, 'payroll');
    okta.behave(tokenRejected);
    await organisation.client.request(verifyMutation, { id: connectionId });
    await pass(organisation, id, 2);
    await settled(organisation, id, 2);
    const [received] = await slack.waitFor(1, `/services/${secret}`);
    expect(JSON.parse(received?.body ?? '')).toEqual({
      text: expect.stringContaining('go to Security &gt; API &gt; Tokens'),
    });
    expect(received?.headers).not.toHaveProperty('webhook-signature');

    const rest = restClient(server.url, organisation.apiKey);
    const path = `/api/v1/webhook-endpoints/${id}`;
    expect((await rest('GET', path)).body).toMatchObject({ endpoint: { url: `${slack.url}/` } });
    expect((await rest('PATCH', path, { description: 'Ours' })).text).not.toContain(secret);
    expect((await rest('POST', `${path}/rotate-secret`)).text).not.toContain(secret);
    expect(server.logs()).not.toContain(secret);
    expect(await server.dump()).not.toContain(secret);
    // The URL outlives the rotation of the secret and of the key under which it is sealed.
    const { database } = server;
    const deps = {
      database,
      vault: server.restartedVault(),
      apps: createApps({ trustedHosts: new Set(), oauth }),
    };
    expect(await rotateKeys(deps, { reseal: true, onProgress: () => undefined })).toMatchObject({
      failures: [],
    });
    const moved = `${slack.url}/services/${randomUUID()}`;
    await rest('POST', `${path}/test`);
    await slack.waitFor(2, `/services/${secret}`);
    await rest('PATCH', path, { url: `${slack.url}/` });
    await rest('POST', `${path}/test`);
    await slack.waitFor(3, `/services/${secret}`);
    await rest('PATCH', path, { url: moved });
    await rest('POST', `${path}/test`);
    await slack.waitFor(1, new URL(moved).pathname);
  });

  it('are tried again together when the mail server refuses them, and do not show its password', async () => {
    const { organisation, id } = await start({ url: 'mailto:ops@example.com', format: 'EMAIL' });
    mail.refuseWith(451);
    await connect(organisation, 'first');
    await pass(organisation, id, 1);
    const refused = await until('the mail server has refused', async () => {
      const messages = await listMessages(organisation.client, id);
      return messages[0]?.attempts.length ? messages : undefined;
    });
    expect(refused).toMatchObject([
      { attempts: [{ status: 451, error: 'the mail server replied 451' }], status: 'PENDING' },
    ]);
    mail.refuseWith(undefined);
    await connect(organisation, 'second');
    await pass(organisation, id, 2);
    await settled(organisation, id, 2);
    expect(mail.received.at(-1)).toMatchObject({ subject: 'App Connections: 2 events' });
    expect(server.logs()).not.toContain(mailPassword);
    expect(await server.dump()).not.toContain(mailPassword);
  });

  it('are each tried for three days, however long other events of the same digest were tried', async () => {
    const { organisation, id } = await start({ url: 'mailto:ops@example.com', format: 'EMAIL' });
    mail.refuseWith(451);
    await connect(organisation, 'first');
    await pass(organisation, id, 1);
    const attempted = (count: number) =>
      until(`${count} events were tried`, async () => {
        const messages = await listMessages(organisation.client, id);
        return messages.filter(({ attempts }) => attempts.length > 0).length === count ? messages : undefined;
      });
    await attempted(1);
    await server.asOwner().execute('update webhook_message set attempts = 10 where endpoint_id = ?', [id]);
    await connect(organisation, 'second');
    await pass(organisation, id, 2);
    const second = (await attempted(2)).at(-1);
    expect(second).toMatchObject({ status: 'PENDING', attempts: [{ status: 451 }] });
    mail.refuseWith(undefined);
  });

  it.each([
    [{ url: 'mailto:a@example.com' }, 'url', 'The format of a mailto: URL is EMAIL.'],
    [{ url: 'https://example.com/x', format: 'EMAIL' }, 'url', 'needs a mailto: URL'],
    [{ url: 'mailto:a@example.com,b@example.com', format: 'EMAIL' }, 'url', 'one e-mail address'],
    [{ url: 'mailto:a@example.com?bcc=b@example.com', format: 'EMAIL' }, 'url', 'one e-mail address'],
    [{ url: 'mailto:a@example.com%0d%0aBcc:b@example.com', format: 'EMAIL' }, 'url', 'one e-mail address'],
    [{ url: 'http://169.254.169.254/', format: 'SLACK' }, 'url', 'does not connect'],
  ])('are refused for %j', async (input, field, message) => {
    const { client } = await server.newOrganisation();
    const [error] = await errorsOf(createEndpoint(client, input));
    const issues = error?.extensions.issues as { path: string[]; message: string }[];
    expect(issues[0]?.path.at(-1)).toBe(field);
    expect(issues[0]?.message).toContain(message);
  });

  it('cannot become webhooks for programs, and the other way round', async () => {
    const { organisation, id } = await start({ url: 'mailto:team@example.com', format: 'EMAIL' });
    const rest = restClient(server.url, organisation.apiKey);
    const { status, text } = await rest('PATCH', `/api/v1/webhook-endpoints/${id}`, { format: 'STANDARD' });
    expect([status, text]).toEqual([422, expect.stringContaining('Create another endpoint.')]);
  });

  it('are tried again, and the server stops, if the mail server never ends its reply', async () => {
    await using other = new AsyncDisposableStack();
    const smtp = createServer((socket) => {
      socket.write('220 mail.example ESMTP\r\n');
      const dripping = setInterval(() => socket.write('250-mail.example\r\n'), 500);
      socket.on('error', () => undefined).on('close', () => clearInterval(dripping));
    });
    await new Promise<void>((resolve) => smtp.listen(0, '127.0.0.1', resolve));
    other.defer(() => new Promise<void>((resolve) => void smtp.close(() => resolve())));
    const { port } = smtp.address() as AddressInfo;
    const dripped = await startTestServer({
      webhookIntervalMs: 50,
      config: { mail: { url: new Secret(`smtp://127.0.0.1:${port}`), from: 'app-connections@example.com' } },
    });
    other.defer(() => dripped.close());
    const { client } = await dripped.newOrganisation();
    const { id } = await createEndpoint(client, { url: 'mailto:team@example.com', format: 'EMAIL' });
    await client.request('mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }', {
      id,
    });
    const messages = await until('an attempt has ended', async () => {
      const found = await listMessages(client, id);
      return found[0]?.attempts.length ? found : undefined;
    });
    expect(messages).toMatchObject([
      { status: 'PENDING', attempts: [{ status: null, error: 'the mail server cannot be reached' }] },
    ]);
  });

  it('by e-mail are at most 50 a day to an address, from all endpoints and after they are deleted, and the rest waits', async () => {
    const address = 'flooded@gmail.com';
    const { organisation, id } = await start({ url: `mailto:${address}`, format: 'EMAIL' });
    const sendTest = 'mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }';
    const countMails = () => mail.received.filter(({ to }) => to.includes(address)).length;
    await organisation.client.request(sendTest, { id });
    await settled(organisation, id, 1);
    await server
      .asOwner()
      .execute('update mail_count set sent = 49 where org_id = ? and address = ?', [
        organisation.orgId,
        address,
      ]);
    await organisation.client.request(sendTest, { id });
    await settled(organisation, id, 2);
    const remove = 'mutation ($id: UUID!) { deleteWebhookEndpoint(id: $id) { __typename } }';
    await organisation.client.request(remove, { id });
    const again = await createEndpoint(organisation.client, {
      url: 'mailto:F.looded+again@GoogleMail.com',
      format: 'EMAIL',
    });
    await organisation.client.request(sendTest, { id: again.id });
    const [waiting] = await until('the message waits for a day', async () => {
      const messages = await listMessages(organisation.client, again.id);
      return messages.every(({ nextAttemptAt: at }) => Date.parse(at ?? '') > Date.now() + 80_000_000)
        ? messages
        : undefined;
    });
    expect(waiting).toMatchObject({ status: 'PENDING', attempts: [] });
    expect(countMails()).toBe(2);
    // Other organisations have their own count.
    const other = await start({ url: `mailto:${address}`, format: 'EMAIL' });
    await other.organisation.client.request(sendTest, { id: other.id });
    await settled(other.organisation, other.id, 1);
    const run = (sql: string) => server.asOwner().execute(sql, [organisation.orgId]);
    await run(`update mail_count set since = since - interval '1 day' where org_id = ?`);
    await run(`update webhook_message set next_attempt_at = now() where org_id = ? and status = 'PENDING'`);
    await run('update webhook_endpoint set next_attempt_at = now() where org_id = ?');
    await settled(organisation, again.id, 1);
  });

  it('by e-mail and to owners are refused for addresses outside of EMAIL_RECIPIENT_DOMAINS, but stored ones stay', async () => {
    const organisation = await server.newOrganisation();
    const credentials = { instanceUrl: okta.origin, apiToken: 'a-good-token' };
    const stranger = { name: 'Somebody', email: 'somebody@stranger.example' };
    const { id: owned } = await createConnection(
      organisation,
      { name: 'owned', owner: stranger },
      credentials,
    );
    const strict = await startTestServer({
      ...{ beside: server, database: server.database, webhookIntervalMs: 50 },
      config: {
        trustedInstanceHosts: new Set([okta.hostPort]),
        mail: {
          url: new Secret(mail.url),
          from: 'app-connections@example.com',
          recipientDomains: ['example.com'],
        },
      },
    });
    try {
      const client = strict.clientFor(organisation.apiKey);
      const refusal = {
        code: 'BAD_USER_INPUT',
        issues: [{ message: expect.stringContaining('EMAIL_RECIPIENT_DOMAINS') }],
      };
      for (const url of ['mailto:a@stranger.example', 'mailto:a@notexample.com'])
        expect(await errorsOf(createEndpoint(client, { url, format: 'EMAIL' }))).toMatchObject([
          { extensions: refusal },
        ]);
      await createEndpoint(client, { url: 'mailto:a@mail.EXAMPLE.com', format: 'EMAIL' });
      const create = createConnection({ client }, { name: 'other', owner: stranger }, credentials);
      const errors = await errorsOf(create);
      expect(errors).toMatchObject([{ extensions: refusal }]);
      expect(errors[0]?.extensions.issues).toMatchObject([{ path: ['input', 'owner', 'email'] }]);
      const rename = { owner: { ...stranger, name: 'Else' } };
      await client.request(updateMutation, { id: owned, input: rename });
      const move = { owner: { ...stranger, email: 'else@stranger.example' } };
      expect(await errorsOf(client.request(updateMutation, { id: owned, input: move }))).toMatchObject([
        { extensions: refusal },
      ]);
    } finally {
      await strict.close();
    }
  });

  it('by e-mail are not sent outside of EMAIL_RECIPIENT_DOMAINS to addresses that were stored before', async () => {
    const address = `${randomUUID()}@stranger.example`;
    const trustedInstanceHosts = new Set([okta.hostPort]);
    const settings = { url: new Secret(mail.url), from: 'app-connections@example.com' };
    // It stores the addresses and sends nothing.
    const open = await startTestServer({ config: { trustedInstanceHosts, mail: settings } });
    const strict = await startTestServer({
      ...{ beside: open, database: open.database, webhookIntervalMs: 50 },
      config: { trustedInstanceHosts, mail: { ...settings, recipientDomains: ['example.com'] } },
    });
    try {
      const organisation = await open.newOrganisation();
      const { id } = await createEndpoint(organisation.client, { url: `mailto:${address}`, format: 'EMAIL' });
      const owner = { name: 'Somebody', email: address };
      const credentials = { instanceUrl: okta.origin, apiToken: 'a-good-token' };
      const connection = await createConnection(organisation, { name: 'owned', owner }, credentials);
      okta.behave(tokenRejected);
      await organisation.client.request(verifyMutation, { id: connection.id });
      const waiting = `select count(*)::int as count from webhook_message where recipient is not null`;
      const countForOwners = async () => {
        const [row] = await open.asOwner().execute<[{ count: number }]>(waiting);
        return row.count;
      };
      await until('a message to the owner', async () => (await countForOwners()) === 1 || undefined);
      await open.asOwner().execute('update webhook_message set next_attempt_at = now()');
      await open.asOwner().execute('update webhook_endpoint set next_attempt_at = now()');
      await until(
        'the message to the owner is gone',
        async () => (await countForOwners()) === 0 || undefined,
      );
      const log = await until('an attempt', async () => {
        const [message] = await listMessages(organisation.client, id);
        return message?.attempts.length ? message.attempts : undefined;
      });
      expect(log[0]).toMatchObject({
        status: null,
        error: 'EMAIL_RECIPIENT_DOMAINS does not have the domain of the address',
      });
      expect(mail.received.filter(({ to }) => to.includes(address))).toEqual([]);
    } finally {
      await strict.close();
      await open.close();
    }
  });

  it('by e-mail say that a program has sent them, so that no absence note answers them', async () => {
    const { organisation, id } = await start({ url: 'mailto:away@example.com', format: 'EMAIL' });
    await organisation.client.request(
      'mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }',
      { id },
    );
    const received = await until('the e-mail', () =>
      mail.received.find(({ to }) => to.includes('away@example.com')),
    );
    expect(received.header('Auto-Submitted')).toBe('auto-generated');
  });

  it('by e-mail stop when the owner of the address unsubscribes, which the log of the endpoint says', async () => {
    const address = 'former@example.com';
    const { organisation, id } = await start({ url: `mailto:${address}`, format: 'EMAIL' });
    const sendTest = 'mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }';
    await organisation.client.request(sendTest, { id });
    const first = await until('the e-mail', () => mail.received.find(({ to }) => to.includes(address)));
    const link = /<(.*)>/.exec(first.header('List-Unsubscribe') ?? '')?.[1] ?? '';
    expect((await fetch(server.url + new URL(link).pathname, { method: 'POST' })).status).toBe(200);
    await organisation.client.request(sendTest, { id });
    const attempts = await until('an attempt', async () => {
      const [, message] = await listMessages(organisation.client, id);
      return message?.attempts.length ? message.attempts : undefined;
    });
    expect(attempts).toMatchObject([{ status: null, error: 'the owner of the address has unsubscribed' }]);
    expect(mail.received.filter(({ to }) => to.includes(address))).toHaveLength(1);
  });

  it('say when and why credentials end, and what to do', async () => {
    const { organisation, id } = await start({
      ...{ url: 'mailto:team@example.com', format: 'EMAIL' },
      eventTypes: ['CONNECTION_EXPIRING', 'CONNECTION_EXPIRED'],
    });
    const unused = await connect(organisation, 'payroll');
    const orphaned = await connect(organisation, 'directory');
    okta.behave(answering({ status: 'SUSPENDED' }));
    await organisation.client.request(verifyMutation, { id: orphaned.id });
    const before = mail.received.length;
    const ends: string[] = [];
    for (const days of [20, 30]) {
      const [{ end }] = await server.asOwner().execute<[{ end: string }]>(
        `update app_connection set verification_details = null, last_verified_at = now() - make_interval(days => ?),
            expires_at = now() + make_interval(days => 30 - ?), expiry_warning_at = now() where id = ?
            returning to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') as end`,
        [days, days, unused.id],
      );
      ends.push(end);
      await pass(organisation, id, ends.length === 1 ? 2 : 1);
      await settled(organisation, id, ends.length + 1);
    }
    const lines = mail.received.slice(before).flatMap(({ text }) => text.split('\n\n')[0]?.split('\n') ?? []);
    expect(lines).toHaveLength(3);
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.stringMatching(
          /directory has credentials whose owner is no longer active.* Replace them .* https:/,
        ),
        expect.stringContaining(
          `payroll has credentials that end on ${ends[0]} if they are not used before. Turn`,
        ),
        expect.stringContaining(`payroll has credentials that ended on ${ends[1]}, as far as`),
      ]),
    );
  });

  it('by e-mail need a mail server', async () => {
    await using other = new AsyncDisposableStack();
    const without = await startTestServer({ beside: server });
    other.defer(() => without.close());
    const { client } = await without.newOrganisation();
    const [error] = await errorsOf(createEndpoint(client, { url: 'mailto:a@example.com', format: 'EMAIL' }));
    expect(error?.message).toContain('SMTP_URL');
  });
});
