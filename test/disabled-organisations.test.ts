import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { AuditHead } from '../src/audit/audit-event.entity.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { checkChain, listAuditEvents } from './testkit/access.ts';
import { makeDue, moveChecks } from './testkit/check-schedule.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { startProvider, type TestProvider } from './testkit/oidc.ts';
import { startOkta, type TestOkta, tokenPath } from './testkit/okta.ts';
import { createConnection, createMutation, presetMutation, okta as toInput } from './testkit/operations.ts';
import { organisationCommand } from './testkit/organisation-command.ts';
import { until } from './testkit/process.ts';
import { at, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { createLink, followLink } from './testkit/setup-links.ts';
import { subscribe } from './testkit/sse-client.ts';
import { changeRows } from './testkit/stored-rows.ts';
import {
  createEndpoint,
  listMessages,
  startReceiver,
  type WebhookReceiver,
} from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const stack = new AsyncDisposableStack();
let provider: TestProvider;
let host: TestOkta;
let receiver: WebhookReceiver;
let server: TestServer;
/** Another server of the same database. */
let other: TestServer;
beforeAll(async () => {
  provider = await startProvider();
  stack.defer(() => provider.stop());
  host = stack.use(await startOkta());
  receiver = stack.use(await startReceiver());
  const options = {
    ...{ checkIntervalMs: 50, webhookIntervalMs: 50, expiryIntervalMs: 50, keyRotationIntervalMs: 50 },
    revocationIntervalMs: 50,
    config: {
      ...provider.settings(),
      trustedInstanceHosts: new Set([host.hostPort, receiver.hostPort, new URL(provider.issuer).host]),
    },
  };
  server = await startTestServer(options);
  stack.defer(() => server.close());
  other = testDatabaseUrl ? await startTestServer({ ...options, beside: server }) : server;
  if (other !== server) stack.defer(() => other.close());
});
afterAll(() => stack.disposeAsync());
afterEach(() => {
  host.behave(handleFakeOkta);
});

const disable = ({ orgId }: TestOrganisation, reason = 'Unpaid invoices') =>
  organisationCommand(server, 'disable', orgId, '--reason', reason);
const enable = ({ orgId }: TestOrganisation) => organisationCommand(server, 'enable', orgId);

let names = 0;
const connect = (organisation: TestOrganisation) => {
  names += 1;
  return createConnection(organisation, { name: `connection-${names}` }, { instanceUrl: host.origin });
};

/** Creates a service app whose key this server makes, which Okta does not know yet. */
async function createKeys({ client }: TestOrganisation) {
  const { createOktaConnection } = await client.request<{
    createOktaConnection: { appConnection: { id: string; credentials: { jwksUrl: string } } };
  }>(
    `mutation ($url: String!) { createOktaConnection(input: { name: "keys", method: SERVICE_APP,
      credentials: { instanceUrl: $url, clientId: "0oa1ab2cd3EF4GH5i0d7", scopes: ["okta.users.read"] } }) {
      appConnection { id credentials { ... on OktaServiceAppCredentials { jwksUrl } } } } }`,
    { url: host.origin },
  );
  return createOktaConnection.appConnection;
}

/** Requests, each with a credential of its own, that return the code of the error. */
async function listRequests(organisation: TestOrganisation) {
  const { orgId, apiKey, client, newKey } = organisation;
  const { id } = await connect(organisation);
  await client.request(presetMutation, { id, preset: 'READ_ONLY' });
  const userKey = await newKey(['connections:use']);
  const token = await provider.issue('robot', 'connections:read', { org: orgId });
  const link = await createLink(client, id);
  const graphql = (each: TestServer, key: string) => async () => {
    const response = await fetch(each.graphqlUrl, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query: '{ viewer { scopes } }' }),
    });
    return [response.status, at(await response.json(), 'errors', 0, 'extensions', 'code')];
  };
  const rest = (each: TestServer, key: string, path: string) => async () => {
    const { status, body } = await restClient(each.url, key)('GET', path);
    return [status, at(body, 'code')];
  };
  const use = `/api/v1/app-connections/okta/${id}/proxy/api/v1/users/me`;
  return new Map(
    [server, other].flatMap((each, index) => [
      [`GraphQL, server ${index}`, graphql(each, apiKey)],
      [`REST, server ${index}`, rest(each, apiKey, '/api/v1/app-connections')],
      [`the proxy, server ${index}`, rest(each, userKey, use)],
      [`a token of the identity provider, server ${index}`, graphql(each, token)],
      [
        `a setup link, server ${index}`,
        async () => {
          const { status, body } = await followLink(each.url, link.secret).open();
          return [status, at(body, 'code')];
        },
      ],
    ]),
  );
}

describe('disabling an organisation', () => {
  it('refuses each of its credentials on every server, also cached ones, until it is enabled', async () => {
    const organisation = await server.newOrganisation();
    const neighbour = await server.newOrganisation();
    const requests = await listRequests(organisation);
    const working = () => Promise.all([...requests].map(async ([name, send]) => [name, await send()]));
    const all = (result: unknown) => [...requests.keys()].map((name) => [name, result]);
    expect(await working()).toEqual(all([200, undefined]));

    expect(await disable(organisation)).toMatchObject({ id: organisation.orgId, status: 'DISABLED' });
    for (const [name, send] of requests)
      await until(`${name} is refused`, async () => ((await send())[0] === 403 ? true : undefined));
    expect(await working()).toEqual(all([403, 'ORGANISATION_DISABLED']));
    const [error] = await errorsOf(organisation.client.request('{ viewer { scopes } }'));
    expect(error).toMatchObject({
      message: 'The organisation is disabled.',
      extensions: { remedy: expect.stringContaining('Ask the operator of this server.') },
    });
    await neighbour.client.request('{ viewer { scopes } }');

    expect(await enable(organisation)).toMatchObject({ status: 'ENABLED', disabledAt: null });
    // Refusals are not cached.
    expect(await working()).toEqual(all([200, undefined]));
  });

  it('stores nothing of a create that waits for Okta while it is disabled, on either server', async () => {
    for (const each of [server, other]) {
      const organisation = await server.newOrganisation();
      const client = each.clientFor(organisation.apiKey);
      const waiting: (() => void)[] = [];
      const asked = Promise.withResolvers<void>();
      host.behave((request, response) => {
        if (request.url !== tokenPath) return handleFakeOkta(request, response);
        waiting.push(() => handleFakeOkta(request, response));
        asked.resolve();
      });
      const credentials = { instanceUrl: host.origin, apiToken: 'a-good-token' };
      const created = errorsOf(client.request(createMutation, toInput({ name: 'late' }, credentials)));
      await asked.promise;
      await disable(organisation);
      host.behave(handleFakeOkta);
      for (const answer of waiting) answer();
      const [error] = await created;
      expect(error?.extensions.code).toBe('ORGANISATION_DISABLED');
      expect(await count('app_connection', organisation)).toBe(0);
      await enable(organisation);
      await client.request(createMutation, toInput({ name: 'late' }, credentials));
      expect(await count('app_connection', organisation)).toBe(1);
    }
  });

  it('refuses every change of a caller whose key is cached, and stores the refusal', async () => {
    const organisation = await server.newOrganisation();
    const { client, apiKey, orgId } = organisation;
    const { id } = await connect(organisation);
    const attempts: [query: string, variables?: object][] = [
      ['mutation { createProject(input: { name: "Late" }) { project { id } } }'],
      ['mutation { createApiKey(input: { name: "Late", scopes: [AUDIT_READ] }) { key } }'],
      ['mutation ($id: UUID!) { deleteAppConnection(id: $id) { id } }', { id }],
      [
        'mutation ($id: UUID!) { updateOktaConnection(id: $id, input: { name: "late" }) { appConnection { id } } }',
        { id },
      ],
    ];
    const rows = async () => (await count('project', organisation)) + (await count('api_key', organisation));
    const before = await rows();
    for (const [query, variables] of attempts) {
      // The key is cached for 1.5 seconds from its last look-up, which can end in between.
      await client.request('{ viewer { scopes } }');
      await disable(organisation);
      const [error] = await errorsOf(client.request(query, variables));
      expect(error?.extensions.code).toBe('ORGANISATION_DISABLED');
      await enable(organisation);
    }
    expect(await rows()).toBe(before);
    const refused = await server
      .asOwner()
      .execute("select outcome from audit_event where org_id = ? and outcome = 'ORGANISATION_DISABLED'", [
        orgId,
      ]);
    expect(refused.length).toBeGreaterThan(0);
    await other.clientFor(apiKey).request(attempts[0]?.[0] ?? '');
    expect(await checkChain(server, orgId)).toMatchObject({ events: expect.any(Number) });
  });

  it('ends its open subscriptions and streams with the error', async () => {
    const organisation = await server.newOrganisation();
    const { id } = await connect(organisation);
    await organisation.client.request(presetMutation, { id, preset: 'READ_ONLY' });
    const changes = await subscribe(
      other.graphqlUrl,
      organisation.apiKey,
      'subscription { appConnectionChanged { kind } }',
    );
    await using _ = changes;
    host.behave((_, response) => {
      response.writeHead(200).write('x');
      const drip = setInterval(() => response.write('x'), 200);
      response.once('close', () => clearInterval(drip));
    });
    const key = await organisation.newKey(['connections:use']);
    const streamed = await fetch(`${other.url}/api/v1/app-connections/okta/${id}/proxy/api/v1/users`, {
      headers: { authorization: `Bearer ${key}` },
    });
    expect(streamed.status).toBe(200);
    await disable(organisation);
    const { errors } = await changes.next();
    expect(errors?.[0]?.extensions.code).toBe('ORGANISATION_DISABLED');
    await changes.ended;
    await expect(streamed.text()).rejects.toThrow();
  });

  it('keeps the public keys of its connections published', async () => {
    const organisation = await server.newOrganisation();
    const { credentials } = await createKeys(organisation);
    const { jwksUrl } = credentials;
    const keys = await (await fetch(jwksUrl)).text();
    expect(keys).toContain('"kid"');
    await disable(organisation);
    expect(await (await fetch(jwksUrl)).text()).toBe(keys);
  });

  it('sends none of its webhooks, and sends those that wait once it is enabled', async () => {
    const organisation = await server.newOrganisation();
    const neighbour = await server.newOrganisation();
    const [mine, theirs] = [`/${organisation.orgId}`, `/${neighbour.orgId}`];
    await createEndpoint(organisation.client, { url: receiver.url + mine });
    await createEndpoint(neighbour.client, { url: receiver.url + theirs });
    // The first attempt fails, so that the message waits for its next one.
    receiver.behave(({ path }, response) => response.writeHead(path === mine ? 503 : 204).end());
    const { id } = await connect(organisation);
    await receiver.waitFor(1, mine);
    await disable(organisation);
    receiver.behave((_, response) => response.writeHead(204).end());
    const dueNow = 'update webhook_message set next_attempt_at = now() where org_id = ?';
    await server.asOwner().execute(dueNow, [organisation.orgId]);
    await server
      .asOwner()
      .execute('update webhook_endpoint set next_attempt_at = now(), lease_until = null where org_id = ?', [
        organisation.orgId,
      ]);
    // Servers look for all endpoints at once, so that they have passed this one over.
    for (const number of [1, 2, 3]) {
      await connect(neighbour);
      await receiver.waitFor(number, theirs);
    }
    expect(receiver.received.filter(({ path }) => path === mine).length).toBe(1);
    await enable(organisation);
    const [, delivered] = await receiver.waitFor(2, mine);
    expect(delivered?.event).toMatchObject({ type: 'connection.created', data: { connection: { id } } });
  });

  it('does not count towards the three days in which its webhooks may do nothing but fail', async () => {
    const organisation = await server.newOrganisation();
    const { orgId, client } = organisation;
    const path = `/${orgId}`;
    const { id } = await createEndpoint(client, { url: receiver.url + path });
    receiver.behave((_, response) => response.writeHead(503).end());
    await connect(organisation);
    await receiver.waitFor(1, path);
    const attempted = (count: number) =>
      until(`${count} attempts are stored`, async () => {
        const [message] = await listMessages(client, id);
        return message?.attempts.length === count ? message : undefined;
      });
    await attempted(1);
    await disable(organisation);
    const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);
    await changeRows(server, AuditHead, { orgId }, () => ({ disabledAt: daysAgo(10) }));
    const em = server.asOwner();
    await em.execute(
      'update webhook_message set failed_since = ?, next_attempt_at = ? where endpoint_id = ?',
      [daysAgo(11), daysAgo(10), id],
    );
    await em.execute('update webhook_endpoint set failing_since = ?, next_attempt_at = ? where id = ?', [
      ...[daysAgo(11), daysAgo(10), id],
    ]);
    await enable(organisation);
    await receiver.waitFor(2, path);
    expect(await attempted(2)).toMatchObject({ status: 'PENDING' });
    const query = 'query ($id: UUID!) { webhookEndpoint(id: $id) { disabledAt failingSince } }';
    const { webhookEndpoint } = await client.request<{
      webhookEndpoint: { disabledAt: string | null; failingSince: string };
    }>(query, { id });
    expect(webhookEndpoint.disabledAt).toBeNull();
    expect(Date.parse(webhookEndpoint.failingSince)).toBeGreaterThan(daysAgo(1.1).getTime());
  });

  it('checks none of its connections, and checks those that are due once it is enabled', async () => {
    const organisation = await server.newOrganisation();
    const neighbour = await server.newOrganisation();
    const mine = await connect(organisation);
    const theirs = await connect(neighbour);
    const checkedAt = async (id: string) => {
      const [row] = await server
        .asOwner()
        .execute<{ at: string }[]>(
          'select verification_checked_at::text as at from app_connection where id = ?',
          [id],
        );
      return row?.at;
    };
    // Connections of a disabled organisation get no time.
    await moveChecks(server, [mine.id], 'next_check_at');
    await disable(organisation);
    const before = await checkedAt(mine.id);
    await makeDue(server, mine.id);
    for (const _ of [1, 2, 3]) {
      const last = await checkedAt(theirs.id);
      await makeDue(server, theirs.id);
      await until('the connection of the neighbour is checked', async () =>
        (await checkedAt(theirs.id)) === last ? undefined : true,
      );
    }
    expect(await checkedAt(mine.id)).toBe(before);
    await enable(organisation);
    await until('the connection is checked', async () =>
      (await checkedAt(mine.id)) === before ? undefined : true,
    );
  });

  it('begins no warnings of expiry for it, which are due once it is enabled', async () => {
    const organisation = await server.newOrganisation();
    const neighbours = await Promise.all([1, 2, 3].map(() => server.newOrganisation()));
    const { id } = await connect(organisation);
    await disable(organisation);
    const setDue = (each: string) =>
      server
        .asOwner()
        .execute("update app_connection set expiry_warning_at = '2020-01-01' where id = ?", [each]);
    const isDue = async (each: string) => {
      const due = "select from app_connection where id = ? and expiry_warning_at = '2020-01-01'";
      return (await server.asOwner().execute<object[]>(due, [each])).length > 0;
    };
    const untilDone = (each: string) =>
      until('the work on a connection is done', async () => ((await isDue(each)) ? undefined : true));
    await setDue(id);
    // All servers look for all connections at once, so that they have passed this one over.
    for (const neighbour of neighbours) {
      const theirs = await connect(neighbour);
      await setDue(theirs.id);
      await untilDone(theirs.id);
    }
    expect(await isDue(id)).toBe(true);
    await enable(organisation);
    await untilDone(id);
  });

  it('is an event of its trail with the reason, and of the trail of the server with the name of the user', async () => {
    const organisation = await server.newOrganisation();
    await disable(organisation, 'Unpaid “invoices”');
    // Again, it changes nothing.
    await disable(organisation, 'Another reason');
    await enable(organisation);
    await enable(organisation);
    const events = (await listAuditEvents(organisation.client)).filter(({ outcome }) => outcome === 'OK');
    expect(events.map(({ action, targetName, keyId }) => ({ action, targetName, keyId }))).toEqual([
      { action: 'DISABLE_ORGANISATION', targetName: 'Unpaid “invoices”', keyId: null },
      { action: 'ENABLE_ORGANISATION', targetName: null, keyId: null },
    ]);
    const ofServer = await server
      .asOwner()
      .execute<{ targetName: string }[]>(
        'select target_name as "targetName" from audit_event where org_id = ? and target_name like ? order by seq',
        [unattributedOrgId, `${organisation.orgId}%`],
      );
    expect(ofServer.map(({ targetName }) => targetName)).toEqual([
      expect.stringMatching(/^[\w-]{36} "Test organisation", by \S+@\S+: Unpaid “invoices”$/),
      expect.stringMatching(/^[\w-]{36} "Test organisation", by \S+@\S+$/),
    ]);
  });

  it('cannot be undone by a user with write access to the database and without the keys', async () => {
    const organisation = await server.newOrganisation();
    const { client, orgId } = organisation;
    await disable(organisation);
    const edits = [
      'update audit_head set disabled_at = null where org_id = ?',
      'delete from audit_head where org_id = ?',
    ];
    await until('the key is not cached', async () => {
      const [error] = await errorsOf(client.request('{ viewer { scopes } }')).catch(() => []);
      return error ? true : undefined;
    });
    for (const edit of edits) {
      const em = server.asOwner();
      const [head] = await em.execute<object[]>('select * from audit_head where org_id = ?', [orgId]);
      await em.execute(edit, [orgId]);
      const [error] = await errorsOf(client.request('{ viewer { scopes } }'));
      expect(['INTERNAL_SERVER_ERROR', 'UNAUTHENTICATED']).toContain(error?.extensions.code);
      await em.execute('delete from audit_head where org_id = ?', [orgId]);
      await em.execute(
        'insert into audit_head select * from jsonb_populate_record(null::audit_head, ?::jsonb)',
        [JSON.stringify(head)],
      );
    }
    const [error] = await errorsOf(client.request('{ viewer { scopes } }'));
    expect(error?.extensions.code).toBe('ORGANISATION_DISABLED');
    await enable(organisation);
    await client.request('{ viewer { scopes } }');
  });
});

async function count(table: string, { orgId }: TestOrganisation): Promise<number> {
  const [row] = await server
    .asOwner()
    .execute<[{ count: number }]>(`select count(*)::int as count from ${table} where org_id = ?`, [orgId]);
  return row.count;
}
