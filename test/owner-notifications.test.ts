import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { Secret } from '../src/common/secret.ts';
import { listAuditEvents } from './testkit/access.ts';
import { lastingData } from './testkit/database.ts';
import { type MailServer, startMailServer } from './testkit/mail-server.ts';
import { failing, startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import {
  createConnection,
  deleteMutation,
  restoreMutation,
  updateMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { spawnServer, until } from './testkit/process.ts';
import { createConnectionOverRest, restClient } from './testkit/rest.ts';
import { keyStates, RotatingApp, registeringScopes } from './testkit/rotating-connection.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { createEndpoint, startReceiver, type WebhookReceiver } from './testkit/webhook-receiver.ts';

// On PostgreSQL, what a killed server was delivering waits for its lease to end, up to half a minute.
vi.setConfig({ testTimeout: 180_000 });

const stack = new AsyncDisposableStack();
let server: TestServer;
let okta: TestOkta;
let standIn: OktaStandIn;
let mail: MailServer;
let receiver: WebhookReceiver;
beforeAll(async () => {
  okta = stack.use(await startOkta());
  standIn = stack.use(await startOktaStandIn());
  mail = stack.use(await startMailServer());
  receiver = stack.use(await startReceiver());
  server = await startTestServer({ webhookIntervalMs: 50, checkIntervalMs: 100, config: settings() });
  stack.defer(() => server.close());
});
afterAll(() => stack.disposeAsync());
afterEach(() => {
  okta.behave(handleFakeOkta);
  mail.refuseWith(undefined);
});

const settings = () => ({
  publicUrl: 'https://connections.example',
  trustedInstanceHosts: new Set([okta.hostPort, standIn.hostPort, receiver.hostPort]),
  mail: { url: new Secret(mail.url), from: 'app-connections@example.com' },
});

const ada = { name: 'Ada', email: 'ada@example.com' };
const bob = { name: 'Bob', email: 'bob@example.com' };
const newOwner = () => ({ name: 'Somebody', email: `${randomUUID()}@example.com` });
const apiToken = 'a-planted-okta-token';

const connect = (organisation: TestOrganisation, name: string, owner: object | undefined) =>
  createConnection(organisation, { name, owner }, { instanceUrl: okta.origin, apiToken });

async function verify({ client }: TestOrganisation, id: string, behaviour = handleFakeOkta) {
  okta.behave(behaviour);
  await client.request(verifyMutation, { id });
}

interface OwnerMessage {
  recipient: string;
  type: string;
  status: string;
  nextAttemptMs: number | null;
  lastAttemptMs: number | null;
}

/** The messages to owners, oldest first, as the database has them. */
const messagesOf = ({ orgId }: Pick<TestOrganisation, 'orgId'>, of = server) =>
  of.asOwner().execute<OwnerMessage[]>(
    `select recipient, type, status, round(extract(epoch from next_attempt_at) * 1000)::float8 as "nextAttemptMs",
        round(extract(epoch from (log->-1->>'at')::timestamptz) * 1000)::float8 as "lastAttemptMs"
      from webhook_message where org_id = ? and recipient is not null order by seq, type`,
    [orgId],
  );

/** Waits until messages wait for owners, and lets their time pass. */
async function pass(
  organisation: Pick<TestOrganisation, 'orgId'>,
  count: number,
  of = server,
): Promise<void> {
  await until(`${count} messages wait`, async () => {
    const messages = await messagesOf(organisation, of);
    return messages.filter(({ status }) => status === 'PENDING').length === count || undefined;
  });
  const run = (sql: string) => of.asOwner().execute(sql, [organisation.orgId]);
  await run(`update webhook_message set next_attempt_at = now() where org_id = ? and status = 'PENDING'`);
  await run('update webhook_endpoint set next_attempt_at = now() where org_id = ?');
}

/** Adds events of a deletion to the trail, before all others, so that the server queues messages for them. */
async function flood({ orgId }: TestOrganisation, connectionId: string, count: number): Promise<void> {
  const run = (sql: string, ...params: unknown[]) => server.asOwner().execute(sql, params);
  await run(
    `insert into audit_event (org_id, seq, at, action, connection_id, connection_name, outcome, fields, previous_hash, hash)
      select ?, -number, now(), 'DELETE_CONNECTION', ?, 'payroll', 'OK', '{deletedAt}', '', ''
      from generate_series(1, ?::int) as number`,
    orgId,
    connectionId,
    count,
  );
  await run('update webhook_endpoint set position = ? where org_id = ?', -count - 1, orgId);
}

/** Waits until the server has queued the messages of every event of an organisation. */
const untilQueued = (of: TestServer, orgId: string) =>
  until('every event is queued', async () => {
    const [row] = await of
      .asOwner()
      .execute<{ isQueued: boolean }[]>(
        'select position = seq as "isQueued" from webhook_endpoint join audit_head using (org_id) where org_id = ?',
        [orgId],
      );
    return row?.isQueued || undefined;
  });

/** Waits for the e-mails to somebody. */
const mailsTo = (email: string, count: number) =>
  until(`${email} has ${count} e-mails`, () => {
    const found = mail.received.filter(({ to }) => to.includes(email));
    return found.length >= count ? found : undefined;
  });

describe('the owner of a connection', () => {
  it('gets one digest of its events, with the reason, links, and how to get no more', async () => {
    const organisation = await server.newOrganisation();
    const owner = newOwner();
    const { id } = await connect(organisation, 'payroll', owner);
    const other = await connect(organisation, 'directory', owner);
    // The owner gets no e-mail about these, nor about the creation.
    await organisation.client.request(updateMutation, { id, input: { description: 'New' } });
    await verify(organisation, id);
    await verify(organisation, id, tokenRejected);
    await untilQueued(server, organisation.orgId);
    await verify(organisation, id);
    await organisation.client.request(deleteMutation, { id: other.id });
    await pass(organisation, 3);
    const [received] = await mailsTo(owner.email, 1);
    expect(received?.subject).toBe('App Connections: 3 events of your connections');
    const [reason, lines, end] = received?.text.split('\n\n') ?? [];
    expect(reason).toContain('because you are the owner of');
    expect(lines?.split('\n')).toEqual([
      expect.stringMatching(/payroll does not work\. .*token/),
      expect.stringContaining('payroll works again. https://connections.example/#/organisation/'),
      expect.stringMatching(/directory was deleted\.$/),
    ]);
    expect(lines).toContain(`/integrations/app-connections/${id}`);
    expect(end).toContain('connections:write');
    expect(received?.text).not.toContain(apiToken);
    expect(mail.received.filter(({ to }) => to.includes(owner.email))).toHaveLength(1);
  });

  it('stops its e-mails from one organisation with the link in them, and gets them again', async () => {
    const [organisation, another] = [await server.newOrganisation(), await server.newOrganisation()];
    const owner = newOwner();
    const { id } = await connect(organisation, 'payroll', owner);
    await connect(another, 'directory', owner);
    await verify(organisation, id, tokenRejected);
    await pass(organisation, 1);
    const [first] = await mailsTo(owner.email, 1);
    const link = /<(.*)>/.exec(first?.header('List-Unsubscribe') ?? '')?.[1] ?? '';
    expect(first?.header('List-Unsubscribe-Post')).toBe('List-Unsubscribe=One-Click');
    expect(first?.text).toContain(`address: ${link}`);
    expect(link).toMatch(/^https:\/\/connections\.example\/unsubscribe\//);
    const path = new URL(link).pathname;
    // As a webmail service sends it.
    const post = (query = '', target = path) =>
      fetch(server.url + target + query, {
        method: 'POST',
        headers: { origin: 'https://mail.example', 'sec-fetch-site': 'cross-site' },
        body: new URLSearchParams({ 'List-Unsubscribe': 'One-Click' }),
      });
    const isStored = async () => {
      const rows = await server
        .asOwner()
        .execute<{ org_id: string }[]>('select org_id from mail_opt_out where address = ?', [owner.email]);
      return rows.map((row) => row.org_id);
    };

    for (const method of ['GET', 'HEAD']) {
      const page = await fetch(server.url + path, { method });
      expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    }
    // A link of another organisation, of another address, and one that was cut off.
    const [, , orgId = '', signed = ''] = path.split('/');
    const stranger = Buffer.from('stranger@example.com').toString('base64url');
    const forged = [
      path.replace(orgId, another.orgId),
      path.replace(signed.split('.')[0] ?? '', stranger),
      path.slice(0, -1),
    ];
    for (const target of forged) expect((await post('', target)).status).toBe(404);
    expect((await fetch(server.url + path, { method: 'DELETE' })).status).toBe(405);
    expect(await isStored()).toEqual([]);

    for (const _ of ['once', 'twice']) expect((await post()).status).toBe(200);
    expect(await isStored()).toEqual([organisation.orgId]);
    const page = await (await fetch(server.url + path)).text();
    expect(page).toContain(`${owner.email}</strong> gets no e-mails`);
    await verify(organisation, id);
    await pass(organisation, 1);
    await until('the message is dropped', async () =>
      (await messagesOf(organisation)).every(({ status }) => status === 'DELIVERED') ? true : undefined,
    );
    expect(await mailsTo(owner.email, 1)).toHaveLength(1);

    expect((await post('?resume')).status).toBe(200);
    expect(await isStored()).toEqual([]);
    await verify(organisation, id, tokenRejected);
    await pass(organisation, 1);
    expect(await mailsTo(owner.email, 2)).toHaveLength(2);
    const events = (await listAuditEvents(organisation.client)).filter(({ action }) =>
      action.endsWith('SUBSCRIBE_ADDRESS'),
    );
    expect(events.map(({ action, targetName }) => [action, targetName])).toEqual([
      ['UNSUBSCRIBE_ADDRESS', owner.email],
      ['RESUBSCRIBE_ADDRESS', owner.email],
    ]);
    expect(server.logs()).not.toContain(signed);
  });

  it('gets the digests of its own connections only, and the next one ten minutes later', async () => {
    const organisation = await server.newOrganisation();
    const [one, another] = [newOwner(), newOwner()];
    const first = await connect(organisation, 'first', one);
    const second = await connect(organisation, 'second', another);
    await connect(organisation, 'third', undefined);
    await verify(organisation, first.id, tokenRejected);
    await verify(organisation, second.id, tokenRejected);
    await pass(organisation, 2);
    const [toOne] = await mailsTo(one.email, 1);
    const [toAnother] = await mailsTo(another.email, 1);
    expect([toOne?.to, toAnother?.to]).toEqual([[one.email], [another.email]]);
    expect([toOne?.text, toAnother?.text]).toEqual([
      expect.not.stringContaining('second'),
      expect.not.stringContaining('first'),
    ]);
    const delivered = await until('the first digest is delivered', async () =>
      (await messagesOf(organisation)).find(
        ({ recipient, status }) => recipient === one.email && status === 'DELIVERED',
      ),
    );
    await verify(organisation, first.id);
    const next = await until('the next message waits', async () =>
      (await messagesOf(organisation)).find(({ status }) => status === 'PENDING'),
    );
    expect(next).toMatchObject({ recipient: one.email, type: 'connection.recovered' });
    expect(next.nextAttemptMs).toBe((delivered.lastAttemptMs ?? 0) + 600_000);
  });

  it('gets its first digest after a minute, also right after one to another owner', async () => {
    const organisation = await server.newOrganisation();
    const [one, another] = [newOwner(), newOwner()];
    const first = await connect(organisation, 'first', one);
    const second = await connect(organisation, 'second', another);
    const third = await connect(organisation, 'third', newOwner());
    await verify(organisation, first.id, tokenRejected);
    await pass(organisation, 1);
    await mailsTo(one.email, 1);
    const delivered = await until('the digest is delivered', async () =>
      (await messagesOf(organisation)).find(({ status }) => status === 'DELIVERED'),
    );
    await verify(organisation, second.id, tokenRejected);
    await organisation.client.request(deleteMutation, { id: third.id, purge: true });
    const waiting = await until('two messages wait', async () => {
      const found = (await messagesOf(organisation)).filter(({ status }) => status === 'PENDING');
      return found.length === 2 ? found : undefined;
    });
    const nextOfOne = (delivered.lastAttemptMs ?? 0) + 600_000;
    for (const { nextAttemptMs } of waiting) expect(nextAttemptMs).toBeLessThan(nextOfOne);
  });

  it('gets an e-mail about a connection that is deleted, and removed for good before a server has read that', async () => {
    const organisation = await server.newOrganisation();
    const owner = newOwner();
    const { id } = await connect(organisation, 'payroll', owner);
    const lease = (until: string) =>
      server
        .asOwner()
        .execute(`update webhook_endpoint set lease_id = ?, lease_until = ${until} where org_id = ?`, [
          randomUUID(),
          organisation.orgId,
        ]);
    await untilQueued(server, organisation.orgId);
    // As if another server had it.
    await lease(`now() + interval '1 hour'`);
    await organisation.client.request(deleteMutation, { id });
    await organisation.client.request(deleteMutation, { id, purge: true });
    await lease('now()');
    await pass(organisation, 1);
    const [received] = await mailsTo(owner.email, 1);
    expect(received?.text).toContain('payroll was removed for good.');
  });

  it('gets one line when the host of its connections does not answer, and one when it answers again, as programs get an event', async () => {
    const [organisation, other] = [await server.newOrganisation(), await server.newOrganisation()];
    const [many, one, stranger] = [newOwner(), newOwner(), newOwner()];
    for (const name of ['a', 'b', 'c', 'd']) await connect(organisation, name, many);
    await connect(organisation, 'e', one);
    await connect(other, 'f', stranger);
    const path = `/${organisation.orgId}`;
    await createEndpoint(organisation.client, { url: receiver.url + path });
    const check = async () => {
      await server
        .asOwner()
        .execute('update app_connection set next_check_at = now() where org_id = ?', [organisation.orgId]);
      await server
        .asOwner()
        .execute('update host_outage set next_check_at = now() where org_id = ?', [organisation.orgId]);
    };
    okta.behave(failing(503));
    await check();
    await until('the outage', async () => ((await messagesOf(organisation)).length === 2 ? true : undefined));
    okta.behave(handleFakeOkta);
    await check();
    await pass(organisation, 4);
    const [[toMany], [toOne]] = [await mailsTo(many.email, 1), await mailsTo(one.email, 1)];
    expect(toMany?.text.split('\n\n')[1]?.split('\n')).toEqual([
      expect.stringContaining(`${okta.origin} does not answer. Your connections to it: a, b, c, and 1 more.`),
      expect.stringContaining(`${okta.origin} answers again. Your connections to it: a, b, c, and 1 more.`),
    ]);
    expect(toOne?.text).toContain(`${okta.origin} does not answer. Your connections to it: e.`);
    expect(await messagesOf(other)).toEqual([]);
    const programs = (await receiver.waitFor(2, path)).map(({ event }) => event);
    expect(programs).toMatchObject([
      { type: 'host.unreachable', data: { host: okta.origin, connection: null } },
      { type: 'host.recovered', data: { host: okta.origin, connection: null, outcome: 'OK' } },
    ]);
  });

  it('gets e-mails if it was named before the event, and none if it was removed before the event', async () => {
    const organisation = await server.newOrganisation();
    const [former, present] = [newOwner(), newOwner()];
    const { id } = await connect(organisation, 'payroll', former);
    await organisation.client.request(updateMutation, { id, input: { owner: null } });
    await verify(organisation, id, tokenRejected);
    await untilQueued(server, organisation.orgId);
    await organisation.client.request(updateMutation, { id, input: { owner: present } });
    await verify(organisation, id);
    await pass(organisation, 1);
    const [received] = await mailsTo(present.email, 1);
    expect(received?.text).toContain('payroll works again.');
    expect((await messagesOf(organisation)).map(({ recipient }) => recipient)).toEqual([present.email]);
  });

  it('gets an e-mail about a deleted connection that is restored', async () => {
    const organisation = await server.newOrganisation();
    const owner = newOwner();
    const { id } = await connect(organisation, 'payroll', owner);
    await organisation.client.request(deleteMutation, { id });
    await organisation.client.request(restoreMutation, { id });
    await pass(organisation, 2);
    const [received] = await mailsTo(owner.email, 1);
    expect(received?.text).toMatch(/payroll was deleted\.\n.*payroll was restored\. https:/);
  });

  it('gets one e-mail about a connection that is removed for good', async () => {
    const organisation = await server.newOrganisation();
    const owner = newOwner();
    const [gone, deleted] = [
      await connect(organisation, 'gone', owner),
      await connect(organisation, 'deleted', owner),
    ];
    await organisation.client.request(deleteMutation, { id: gone.id, purge: true });
    await organisation.client.request(deleteMutation, { id: deleted.id });
    await pass(organisation, 2);
    const [received] = await mailsTo(owner.email, 1);
    expect(received?.text).toMatch(/gone was removed for good\.\n.*deleted was deleted\.\n/);
    await organisation.client.request(deleteMutation, { id: deleted.id, purge: true });
    // The event after it is there, so this one has made no message.
    const last = await connect(organisation, 'last', owner);
    await organisation.client.request(deleteMutation, { id: last.id });
    await pass(organisation, 1);
    const [, next] = await mailsTo(owner.email, 2);
    expect(next?.subject).toBe('App Connections: 1 event of your connections');
  });

  it('gets refused events again together with later ones, and delays no other owner', async () => {
    const organisation = await server.newOrganisation();
    const [one, another] = [newOwner(), newOwner()];
    const first = await connect(organisation, 'first', one);
    const second = await connect(organisation, 'second', another);
    mail.refuseWith(451);
    await verify(organisation, first.id, tokenRejected);
    await pass(organisation, 1);
    await until('the mail server has refused', async () => {
      const [row] = await server
        .asOwner()
        .execute('select log from webhook_message where org_id = ? and attempts > 0', [organisation.orgId]);
      return row;
    });
    mail.refuseWith(undefined);
    await verify(organisation, first.id);
    await verify(organisation, second.id, tokenRejected);
    await pass(organisation, 3);
    const [received] = await mailsTo(one.email, 1);
    expect(received?.subject).toContain('2 events');
    await mailsTo(another.email, 1);
    expect(server.logs()).not.toContain(one.email);
  });

  it('gets the events that were committed before SIGKILL from the next server, also without a webhook endpoint', async () => {
    await using own = new AsyncDisposableStack();
    const { path, location, environment } = await lastingData(own);
    const apiKey = generateApiKey().reveal();
    const killed = own.use(
      spawnServer({
        ...environment,
        ...{ OKTA_STAND_IN: 'on', BOOTSTRAP_API_KEY: apiKey },
        ...{ SMTP_URL: mail.url, SMTP_FROM: 'app-connections@example.com' },
      }),
    );
    const rest = restClient(await killed.ready(), apiKey);
    const owner = newOwner();
    const { id, orgId } = await createConnectionOverRest(rest, { name: 'payroll', owner });
    expect((await rest('DELETE', `/api/v1/app-connections/okta/${id}`)).status).toBe(200);
    killed.kill('SIGKILL');
    await killed.ended();

    const rootKeys = readFileSync(join(path, 'encryption-keys'), 'utf8').trim();
    const next = await startTestServer({ location, rootKeys, webhookIntervalMs: 50, config: settings() });
    own.defer(() => next.close());
    await pass({ orgId }, 1, next);
    expect((await mailsTo(owner.email, 1))[0]?.text).toContain('payroll was deleted.');
  });

  it('gets e-mails although the data key of the credentials is damaged, which no e-mail needs', async () => {
    await using own = new AsyncDisposableStack();
    // It delivers nothing.
    const first = await startTestServer({ config: settings() });
    own.defer(() => first.close());
    const organisation = await first.newOrganisation();
    const owner = newOwner();
    const { id } = await connect(organisation, 'payroll', owner);
    await organisation.client.request(deleteMutation, { id, purge: true });
    await first
      .asOwner()
      .execute(`update data_key set wrapped = reverse(wrapped) where org_id = ? and purpose = 'SEAL'`, [
        organisation.orgId,
      ]);
    const shared = { database: first.database, rootKeys: first.rootKey };
    const next = await startTestServer({ ...shared, webhookIntervalMs: 50, config: settings() });
    own.defer(() => next.close());
    await pass(organisation, 1, next);
    expect((await mailsTo(owner.email, 1))[0]?.text).toContain('payroll was removed for good.');
  });

  it('gets nothing without a mail server, and nothing is kept for later', async () => {
    await using own = new AsyncDisposableStack();
    const { mail: _, ...config } = settings();
    const without = await startTestServer({ webhookIntervalMs: 50, config });
    own.defer(() => without.close());
    const organisation = await without.newOrganisation();
    const { id } = await connect(organisation, 'payroll', newOwner());
    const gone = await connect(organisation, 'gone', newOwner());
    await organisation.client.request(deleteMutation, { id });
    await organisation.client.request(deleteMutation, { id: gone.id, purge: true });
    await untilQueued(without, organisation.orgId);
    const messages = await without.asOwner().execute('select id from webhook_message');
    expect(messages).toEqual([]);
  });

  it('does not wait for the owners of another organisation that has a flood of events', async () => {
    const [flooding, other] = [await server.newOrganisation(), await server.newOrganisation()];
    const owner = newOwner();
    const { id } = await connect(flooding, 'flooding', ada);
    await flood(flooding, id, 2000);
    const release = mail.hold(ada.email);
    await pass(flooding, 2000);
    const { id: otherId } = await connect(other, 'other', owner);
    await other.client.request(deleteMutation, { id: otherId });
    await pass(other, 1);
    await mailsTo(owner.email, 1);
    const delivered = (await messagesOf(flooding)).filter(({ status }) => status === 'DELIVERED');
    expect(delivered).toEqual([]);
    release();
  });

  it('gets 500 events at most in a digest, and the others with the next one', async () => {
    const organisation = await server.newOrganisation();
    const owner = newOwner();
    const { id } = await connect(organisation, 'payroll', owner);
    await untilQueued(server, organisation.orgId);
    await flood(organisation, id, 600);
    await pass(organisation, 600);
    const [first] = await mailsTo(owner.email, 1);
    expect(first?.subject).toContain('500 events');
    expect(first?.text).toContain('and 450 more');
    await until('500 are delivered', async () => {
      const messages = await messagesOf(organisation);
      return messages.filter(({ status }) => status === 'DELIVERED').length === 500 || undefined;
    });
    await pass(organisation, 100);
    const [, second] = await mailsTo(owner.email, 2);
    expect(second?.subject).toContain('100 events');
  });

  it('gets an e-mail about a new key that waits for Okta, and none about one that Okta has accepted', async () => {
    const organisation = await server.newOrganisation();
    const owner = newOwner();
    const waiting = await RotatingApp.create(standIn, organisation);
    const accepted = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    for (const { id } of [waiting, accepted])
      await organisation.client.request(updateMutation, { id, input: { owner } });
    await waiting.rotate();
    expect(keyStates(await accepted.rotate())).not.toContain('PENDING');
    await pass(organisation, 2);
    const [received] = await mailsTo(owner.email, 1);
    expect(received?.subject).toBe('App Connections: 1 event of your connections');
    expect(received?.text).toMatch(/has a new key, which the app has not accepted yet\. https:\S+/);
    expect(received?.text).toContain(waiting.id);
  });

  it('gets e-mails from an endpoint that no caller sees, changes or tests', async () => {
    const organisation = await server.newOrganisation();
    await connect(organisation, 'payroll', bob);
    const [{ id }] = await server
      .asOwner()
      .execute<[{ id: string }]>('select id from webhook_endpoint where org_id = ?', [organisation.orgId]);
    const list = gql`{ webhookEndpoints { id } }`;
    expect(await organisation.client.request(list)).toEqual({ webhookEndpoints: [] });
    const rest = restClient(server.url, organisation.apiKey);
    const path = `/api/v1/webhook-endpoints/${id}`;
    for (const [method, route, body] of [
      ['GET', path],
      ['PATCH', path, { enabled: false }],
      ['DELETE', path],
      ['POST', `${path}/rotate-secret`],
      ['POST', `${path}/test`],
      ['POST', `${path}/redeliver`, { from: '2026-01-01T00:00:00Z' }],
      ['GET', `${path}/messages`],
    ] as const) {
      expect([method, route, (await rest(method, route, body)).status]).toEqual([method, route, 404]);
    }
    const [error] = await errorsOf(createEndpoint(organisation.client, { url: 'owners:', format: 'EMAIL' }));
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
  });
});
