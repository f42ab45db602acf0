import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { DataKey } from '../src/encryption/data-key.entity.ts';
import { ApiKey } from '../src/identity/api-key.entity.ts';
import { verifyRows } from '../src/integrity/authenticated-rows.ts';
import { checkChain, createKey, revokeKey } from './testkit/access.ts';
import { createDatabaseAttacker } from './testkit/database-attacker.ts';
import {
  byIdQuery,
  createConnection,
  createMutation,
  deleteMutation,
  okta,
  restoreMutation,
  updateMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';
import { createLink, followLink, revokeLink } from './testkit/setup-links.ts';
import { createEndpoint } from './testkit/webhook-receiver.ts';
import { listTables } from './testkit/without-tenant-filters.ts';

let server: TestServer;
let sql: ReturnType<typeof createDatabaseAttacker>;
beforeAll(async () => {
  server = await startTestServer();
  sql = createDatabaseAttacker(server);
});
afterAll(() => server.close());

/** Returns the error code of a failing request. */
async function errorCode(request: Promise<unknown>): Promise<string | undefined> {
  return (await errorsOf(request))[0]?.extensions.code;
}

/** Returns the rows without a valid MAC that `npm run audit:verify` reports. */
async function changedRows(): Promise<string[]> {
  const found: string[] = [];
  for await (const { table, id } of verifyRows(server.database, server.vault)) {
    found.push(`${table} ${Object.values(id).join(' ')}`);
  }
  return found;
}

/** Asserts that the log names the changed row. */
function expectLogged(table: string, id: string): void {
  const line = server
    .logs()
    .split('\n')
    .find((text) => text.includes('was changed by something other than this server') && text.includes(id));
  expect(line).toContain(`"table":"${table}"`);
  expect(line).toContain('"level":"error"');
}

describe('database user with write access', () => {
  const createKeyOf = async (orgId: string, name = 'Another') =>
    server.asOwner().findOneOrFail(ApiKey, { orgId, name });

  test('cannot authenticate with an inserted API key', async () => {
    const { orgId, client, apiKey } = await server.newOrganisation();
    const { hash } = await server.asOwner().findOneOrFail(ApiKey, { orgId });
    const planted = 'planted-by-an-editor-of-the-database';
    await sql(
      `insert into api_key (id, org_id, name, hash, scopes, created_at, mac)
        select gen_random_uuid(), org_id, 'Planted', encode(sha256(?), 'hex'), scopes, created_at, mac
        from api_key where hash = ?`,
      [Buffer.from(planted), hash],
    );
    const [error] = await errorsOf(server.clientFor(planted).request('{ viewer { subject } }'));
    expect(error).toMatchObject({ message: 'No such API key.', extensions: { code: 'UNAUTHENTICATED' } });
    expectLogged('api_key', (await createKeyOf(orgId, 'Planted')).id);
    expect(await client.request('{ viewer { subject } }')).toEqual({ viewer: { subject: null } });
    expect(apiKey).not.toBe(planted);
  });

  test.each([
    ['adds scopes to', `scopes = scopes || '{access:admin}'`],
    ['removes the project limit of', 'project_ids = null'],
    ['removes the connection limit of', 'connection_ids = null'],
    ['adds a connection to', 'connection_ids = connection_ids || gen_random_uuid()'],
    ['removes the expiry of', 'expires_at = null'],
    ['moves the expiry of', `expires_at = now() + interval '10 years'`],
    ['removes the MAC of', `mac = ''`],
    ['replaces the MAC of', `mac = (select mac from api_key where name = 'Administrator' limit 1)`],
  ])('makes an API key useless when it %s the key', async (_, change) => {
    const organisation = await server.newOrganisation();
    const key = await organisation.newKey(['connections:read'], {
      projectIds: [organisation.projectId],
      connectionIds: [randomUUID()],
      expiresAt: new Date(Date.now() + 3_600_000),
    });
    const { id } = await createKeyOf(organisation.orgId);
    await sql(`update api_key set ${change} where id = ?`, [id]);
    expect(await errorCode(server.clientFor(key).request('{ viewer { subject } }'))).toBe('UNAUTHENTICATED');
    expectLogged('api_key', id);
  });

  test('cannot undo the revocation of an API key', async () => {
    const { orgId, client } = await server.newOrganisation();
    const { key, apiKey } = await createKey(client);
    await revokeKey(client, apiKey.id);
    await sql('update api_key set revoked_at = null where id = ?', [apiKey.id]);
    expect(await errorCode(server.clientFor(key).request('{ viewer { subject } }'))).toBe('UNAUTHENTICATED');
    expect(await changedRows()).toContain(`api_key ${apiKey.id}`);
    expect(orgId).toBeDefined();
  });

  test('makes two API keys useless when it swaps their hashes', async () => {
    const organisation = await server.newOrganisation();
    const [weak, strong] = [
      await organisation.newKey(['connections:read']),
      await organisation.newKey(['connections:read', 'access:admin']),
    ];
    await sql(
      `update api_key set hash = encode(sha256(('swapped ' || hash)::bytea), 'hex') where org_id = ? and name = 'Another'`,
      [organisation.orgId],
    );
    const hashes = [weak, strong].map((key) => Buffer.from(key));
    await sql(
      `update api_key set hash = encode(sha256(case when scopes @> '{access:admin}' then ?::bytea else ?::bytea end), 'hex')
        where org_id = ? and name = 'Another'`,
      [...hashes, organisation.orgId],
    );
    for (const key of [weak, strong]) {
      expect(await errorCode(server.clientFor(key).request('{ viewer { subject } }'))).toBe(
        'UNAUTHENTICATED',
      );
    }
  });

  test('cannot move an API key to another organisation', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const key = await mine.newKey(['connections:read']);
    await sql(`update api_key set org_id = ? where org_id = ? and name = 'Another'`, [
      theirs.orgId,
      mine.orgId,
    ]);
    expect(await errorCode(server.clientFor(key).request('{ viewer { subject } }'))).toBe('UNAUTHENTICATED');
  });

  test('cannot make the last real administrator removable with an inserted one', async () => {
    const { orgId, client } = await server.newOrganisation();
    const { id } = await createKeyOf(orgId, 'Administrator');
    await sql(
      `insert into api_key (id, org_id, name, hash, scopes, created_at, mac)
        select gen_random_uuid(), org_id, name, 'planted ' || hash, scopes, created_at, mac from api_key where id = ?`,
      [id],
    );
    expect(await errorCode(revokeKey(client, id))).toBe('LAST_ADMINISTRATOR');
  });

  test('cannot restore a previous token', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    const { id } = await createConnection(organisation, {}, { apiToken: 'the-token-of-yesterday' });
    const columns = 'sealed_credentials, credentials_hash, data_key_id';
    const [old] = await sql(`select ${columns}, mac from app_connection where id = ?`, [id]);
    const input = { credentials: { apiToken: 'the-token-of-today' } };
    await client.request(updateMutation, { id, input });
    for (const names of [['sealed_credentials'], columns.split(', '), [...columns.split(', '), 'mac']]) {
      const [now] = await sql(`select ${columns}, mac from app_connection where id = ?`, [id]);
      const set = (row: Record<string, unknown> | undefined) =>
        sql(`update app_connection set ${names.map((name) => `${name} = ?`).join(', ')} where id = ?`, [
          ...names.map((name) => row?.[name]),
          id,
        ]);
      await set(old);
      expect(await errorCode(client.request(verifyMutation, { id }))).toBe('INTERNAL_SERVER_ERROR');
      await set(now);
      await client.request(verifyMutation, { id });
    }
    expectLogged('app_connection', id);
  });

  test.each([
    ['verified', (id: string) => ({ document: verifyMutation, variables: { id } })],
    [
      'changed',
      (id: string) => ({ document: updateMutation, variables: { id, input: { description: 'x' } } }),
    ],
    [
      'given another token',
      (id: string) => ({
        document: updateMutation,
        variables: { id, input: { credentials: { apiToken: 'b' } } },
      }),
    ],
    ['deleted', (id: string) => ({ document: deleteMutation, variables: { id } })],
    ['purged', (id: string) => ({ document: deleteMutation, variables: { id, purge: true } })],
  ])('cannot have a connection %s in another project by moving it there', async (_, ask) => {
    const organisation = await server.newOrganisation();
    const { id } = await createConnection(organisation);
    const projectId = await organisation.newProject('Second');
    const key = await organisation.newKey(['connections:read', 'connections:write', 'connections:verify'], {
      projectIds: [projectId],
    });
    await sql('update app_connection set project_id = ? where id = ?', [projectId, id]);
    const { document, variables } = ask(id);
    expect(await errorCode(server.clientFor(key).request(document, variables))).toBe('INTERNAL_SERVER_ERROR');
    expectLogged('app_connection', id);
    expect(await changedRows()).toContain(`app_connection ${id}`);
  });

  test('cannot restore a deleted connection or have one restored over an existing one', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    const [deleted, there] = [
      (await createConnection(organisation, { name: 'a' })).id,
      (await createConnection(organisation, { name: 'b' })).id,
    ];
    await client.request(deleteMutation, { id: deleted });
    await sql('update app_connection set deleted_at = null where id = ?', [deleted]);
    await sql('update app_connection set deleted_at = now() where id = ?', [there]);
    expect(await errorCode(client.request(verifyMutation, { id: deleted }))).toBe('INTERNAL_SERVER_ERROR');
    expect(await errorCode(client.request(restoreMutation, { id: there }))).toBe('INTERNAL_SERVER_ERROR');
  });

  test('cannot move a project to another organisation and have connections created in it', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const projectId = await mine.newProject('Moved');
    await sql('update project set org_id = ? where id = ?', [theirs.orgId, projectId]);
    expect(await errorCode(createConnection(theirs, { projectId }))).toBe('INTERNAL_SERVER_ERROR');
    expect(await errorCode(createConnection(mine, { projectId }))).toBe('NOT_FOUND');
  });

  test('cannot reactivate a retired data key for encryption', async () => {
    const organisation = await server.newOrganisation();
    const { orgId } = organisation;
    await createConnection(organisation);
    const seal = () => {
      const binding = { orgId, connectionId: orgId, app: 'okta', method: 'api-token', host: '' };
      return server.restartedVault().seal(server.asOwner(), binding, {});
    };
    const before = await server.asOwner().findOneOrFail(DataKey, { orgId, purpose: 'SEAL' });
    const em = server.asOwner();
    const macs = await server.vault.rowMacs(em);
    const retired = macs.signed(em, DataKey, { ...before, retiredAt: new Date() });
    await em.nativeUpdate(DataKey, { id: before.id }, { retiredAt: retired.retiredAt, mac: retired.mac });
    const successor = em.create(DataKey, {
      ...(await server.vault.dataKeys.generate(orgId, 'SEAL')),
      createdAt: new Date(Date.now() + 1_000),
    });
    await em.flush();
    expect(await seal()).toMatchObject({ dataKeyId: successor.id });

    await sql('update data_key set retired_at = now() where id = ?', [successor.id]);
    await sql('update data_key set retired_at = null where id = ?', [before.id]);
    await expect(seal()).rejects.toThrow('no active SEAL key');
    await sql('update data_key set mac = ? where id = ?', [before.mac, before.id]);
    await expect(seal()).rejects.toThrow('no active SEAL key');
    await sql("update data_key set created_at = created_at - interval '1 year' where id = ?", [successor.id]);
    await sql(`update data_key set created_at = now() + interval '1 hour' where id = ?`, [before.id]);
    await expect(seal()).rejects.toThrow('A row of data_key was changed');
  });

  test('cannot redirect an idempotent retry to another connection', async () => {
    const organisation = await server.newOrganisation();
    const { client, orgId } = organisation;
    const { id: other } = await createConnection(organisation, { name: 'other' });
    const variables = okta({ name: 'mine', idempotencyKey: 'once' });
    await client.request(createMutation, variables);
    await sql(
      `update idempotent_request set outcome = outcome || jsonb_build_object('id', ?::text) where org_id = ?`,
      [other, orgId],
    );
    expect(await errorCode(client.request(createMutation, variables))).toBe('INTERNAL_SERVER_ERROR');
  });
});

test('every operation that changes rows leaves valid MACs', async () => {
  const before = await changedRows();
  const organisation = await server.newOrganisation();
  const { client } = organisation;
  const { id } = await createConnection(organisation, {
    idempotencyKey: 'once',
    projectId: organisation.projectId,
  });
  await client.request(updateMutation, { id, input: { name: 'renamed', description: null } });
  await client.request(updateMutation, { id, input: { credentials: { apiToken: 'another' } } });
  await client.request(verifyMutation, { id });
  await client.request(deleteMutation, { id });
  await client.request(restoreMutation, { id });
  const link = await createLink(client, id);
  await followLink(server.url, link.secret).open();
  await revokeLink(client, link.id);
  await followLink(server.url, (await createLink(client, id)).secret).submit({ apiToken: 'a-third' });
  const { key, apiKey } = await createKey(client, { projectIds: [organisation.projectId.toUpperCase()] });
  await server.clientFor(key).request(byIdQuery, { id });
  await revokeKey(client, apiKey.id);
  await client.request(
    'mutation ($id: UUID!) { renameProject(id: $id, name: "Renamed") { project { id } } createProject(input: { name: "Third" }) { project { id } } }',
    { id: organisation.projectId },
  );
  await client.request(verifyMutation, { id });
  expect(await changedRows()).toEqual(before);
  expect(await checkChain(server, organisation.orgId)).toHaveProperty('events');
  const stored = await server.asOwner().findOneOrFail(AppConnection, { id });
  expect(stored.version).toBe(6);
});

describe('MAC coverage of table columns', () => {
  /** The tables without a MAC, with the reason. */
  const withoutMac = {
    ...Object.fromEntries(
      ['connection_usage', 'connection_usage_caller', 'connection_last_use'].map((table) => [
        table,
        'Counts are for people to look at, and decide only whether a deletion has to be acknowledged. Counting must cost no request anything.',
      ]),
    ),
    audit_event: 'The hash of each event is over all of its columns.',
    audit_stream: 'It decides only which server streams audit events, and when.',
    connection_status_history: 'It is only shown.',
    connection_tag: 'It only filters lists, and a trigger writes it from a column that the MAC covers.',
    host_certificate: 'It is shown, and decides only when warnings are given.',
    host_outage: 'It is shown, and decides only when checks are made.',
    host_outage_history: 'It is only shown.',
    mail_opt_out: 'Opt-outs decide only whether e-mails are sent.',
    mail_count: 'Counts decide only when e-mails are sent, for a day.',
    organisation:
      'Its name and its time are shown and decide nothing; its id is in everything that belongs to it.',
    rate_budget: 'Counts are valid for a minute, and a limit is stated by each response.',
    rate_limit: 'Counts are valid for a minute.',
  };
  /** Columns that the MAC leaves out; the entities say why. */
  const decidingNothing: Readonly<Record<string, readonly string[]>> = {
    api_key: ['last_used_at'],
    app_connection: [
      ...['account', 'verification_status', 'verification_checked_at', 'last_verified_at', 'failing_since'],
      ...['verification_code', 'verification_message', 'verification_remedy', 'upstream_request_id'],
      ...['verification_details', 'conversion_verification', 'key_registration_failure'],
      ...['next_check_at', 'check_delay', 'revoke_at', 'keys_due_at', 'status_since'],
      ...['expires_at', 'expiry_reason', 'expiry_warning_at'],
    ],
    webhook_endpoint: [
      ...['position', 'next_attempt_at', 'lease_id', 'lease_until', 'failing_since', 'last_success_at'],
    ],
    webhook_message: ['status', 'attempts', 'failed_since', 'next_attempt_at', 'log'],
  };

  test('includes every table, or a reason why not', async () => {
    const tables = (await listTables(server.asOwner())).map(({ name }) => name);
    const withMac = await sql(
      `select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'mac'`,
    );
    expect([...withMac.map(({ name }) => String(name)), ...Object.keys(withoutMac)].sort()).toEqual(tables);
  });

  test.each([
    ...['api_key', 'app_connection', 'audit_head', 'connection_setup_link', 'data_key'],
    ...['idempotent_request', 'project', 'webhook_endpoint', 'webhook_message'],
  ])('of %s includes every column that decides something', async (table) => {
    const organisation = await server.newOrganisation();
    const { client, projectId } = organisation;
    const { id } = await createConnection(organisation, { idempotencyKey: 'once', projectId });
    await createLink(client, id);
    const webhook = await createEndpoint(client, { url: 'https://example.com/webhooks' });
    const test = 'mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }';
    await client.request(test, { id: webhook.id });
    const already = await changedRows();
    const seen: string[] = [];
    for (const column of await sql.columns(table)) {
      const changed = await sql.changing(table, column, organisation.orgId, async () =>
        (await changedRows()).filter((row) => !already.includes(row)),
      );
      if (changed.length === 0) seen.push(column.name);
    }
    expect(seen.sort()).toEqual([...(decidingNothing[table] ?? [])].sort());
    expect(await changedRows()).toEqual(already);
  });

  test('of audit_event is the hash of the event', async () => {
    const organisation = await server.newOrganisation();
    await createConnection(organisation);
    const whole = { events: 1 };
    expect(await checkChain(server, organisation.orgId)).toEqual(whole);
    for (const column of await sql.columns('audit_event')) {
      const found = await sql.changing('audit_event', column, organisation.orgId, () =>
        checkChain(server, organisation.orgId),
      );
      expect([column.name, found]).toEqual([
        column.name,
        expect.objectContaining({ problem: expect.anything() }),
      ]);
    }
    expect(await checkChain(server, organisation.orgId)).toEqual(whole);
  });
});
