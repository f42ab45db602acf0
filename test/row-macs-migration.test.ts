import { createSecretKey, randomBytes, randomUUID } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { AuditEvent } from '../src/audit/audit-event.entity.ts';
import { digestCredential, generateApiKey } from '../src/auth/api-keys.ts';
import { entities } from '../src/bootstrap/entities.ts';
import { StartupError } from '../src/common/errors.ts';
import { createLog } from '../src/common/log.ts';
import { openDatabase } from '../src/database/database.ts';
import { inSession, lazyScopedEntityManager, ownerSession } from '../src/database/driver/session.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { openOrm } from '../src/database/open-orm.ts';
import { sealJwe } from '../src/encryption/jwe.ts';
import { LocalRootKey } from '../src/encryption/local-root-key.ts';
import { scopes } from '../src/identity/caller.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { verifyRows } from '../src/integrity/authenticated-rows.ts';
import { checkChain } from './testkit/access.ts';
import { lastingData } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { verifyMutation } from './testkit/operations.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

// Each server here opens its database anew, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000 });

const log = createLog('silent');
/** A database of the version before MACs, with its contents. */
async function databaseOfBefore(location: DatabaseLocation, rootKeys: string) {
  const [orgId, projectId, connectionId, apiKeyId] = Array.from({ length: 4 }, () => randomUUID());
  const key = generateApiKey();
  const orm = await openOrm(location, entities, log);
  await inSession(ownerSession, () => orm.migrator.up({ to: '0009-unlogged-rates' }));
  const em = lazyScopedEntityManager(() => orm.em.fork(), ownerSession);
  await em.execute(`insert into organisation values (?, 'Old', now())`, [orgId]);
  await em.execute(`insert into project (id, org_id, name, created_at) values (?, ?, 'Old', now())`, [
    projectId,
    orgId,
  ]);
  await em.execute(
    `insert into api_key (id, org_id, name, hash, scopes, created_at) values (?, ?, 'Old', ?, ?::text[], now())`,
    [apiKeyId, orgId, digestCredential(key), `{${scopes.join(',')}}`],
  );
  const [rootKeyId = '', rootKeyText = ''] = rootKeys.split(':');
  // That version wrapped data keys without the marker for row MACs.
  const wrapper = new LocalRootKey(rootKeyId, Buffer.from(rootKeyText, 'base64'));
  const sealKey = { id: randomUUID(), bytes: randomBytes(32) };
  for (const purpose of ['SEAL', 'FINGERPRINT', 'AUDIT']) {
    const id = purpose === 'SEAL' ? sealKey.id : randomUUID();
    const wrapped = await wrapper.wrap(sealKey.bytes, { id, orgId: String(orgId), purpose });
    await em.execute(
      `insert into data_key (id, org_id, purpose, wrapped, root_key_id, made_under, created_at)
        values (?, ?, ?, ?, ?, ?, now())`,
      [id, orgId, purpose, wrapped, rootKeyId, rootKeyId],
    );
  }
  const binding = { org: String(orgId), cid: String(connectionId), app: 'okta', method: 'api-token' };
  const sealed = sealJwe(
    Buffer.from('{"apiToken":"a-good-token"}'),
    createSecretKey(sealKey.bytes),
    sealKey.id,
    { ...binding, host: 'example.okta.com' },
  );
  await em.execute(
    `insert into app_connection (id, org_id, project_id, name, app, method, version, created_at, updated_at,
        is_platform_managed_credentials, credentials_hash, public_credentials, sealed_credentials, data_key_id,
        verification_status, verification_checked_at)
      values (?, ?, ?, 'old', 'okta', 'api-token', 1, now(), now(), false, 'hash',
        '{"instanceUrl":"https://example.okta.com"}', ?, ?, 'VERIFIED', now())`,
    [connectionId, orgId, projectId, sealed, sealKey.id],
  );
  await em.execute(
    `insert into idempotent_request (org_id, caller, key, fingerprint, outcome, created_at)
      values (?, 'key:old', 'key', 'fingerprint', '{}', now())`,
    [orgId],
  );
  // An API key of another organisation, whose trail records its creation.
  const [other, otherKeyId] = [randomUUID(), randomUUID()];
  await em.execute(`insert into organisation values (?, 'Other', now())`, [other]);
  await em.execute(
    `insert into api_key (id, org_id, name, hash, scopes, created_at) values (?, ?, 'Made', 'hash', '{}', now())`,
    [otherKeyId, other],
  );
  await em.execute(
    `insert into audit_event (org_id, seq, at, action, key_id, api_key_id, outcome, fields, previous_hash, hash)
      values (?, 1, now(), 'CREATE_API_KEY', ?, ?, 'OK', '{}', '', '')`,
    [other, apiKeyId, otherKeyId],
  );
  await orm.close(true);
  return {
    orgId: String(orgId),
    connectionId: String(connectionId),
    apiKeyId: String(apiKeyId),
    key: key.reveal(),
  };
}

async function changedRows(server: TestServer): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const row of verifyRows(server.database, server.vault)) found.push(row);
  return found;
}

test('signs the rows of a version without MACs once, unchanged, however often the start is interrupted', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack, { isMigrated: false });
  const rootKeys = rootKey('k1');
  const old = await databaseOfBefore(location, rootKeys);
  // Migrated, and then killed before the rows were signed.
  await (await openDatabase(location, entities, log)).close();

  const first = await startTestServer({ location, rootKeys });
  expect(await changedRows(first)).toEqual([]);
  const client = first.clientFor(old.key);
  expect(await client.request(verifyMutation, { id: old.connectionId })).toMatchObject({
    verifyAppConnection: { appConnection: { verification: { status: 'VERIFIED' } } },
  });
  expect(await checkChain(first, old.orgId)).toEqual({ events: 1 });
  expect(await first.asOwner().execute(`select name, created_by from api_key order by name`)).toEqual([
    { name: 'Made', created_by: `key:${old.apiKeyId}` },
    { name: 'Old', created_by: null },
  ]);
  const event = { orgId: unattributedOrgId, action: 'AUTHENTICATE_ROWS' } as const;
  expect(await first.asOwner().count(AuditEvent, event)).toBe(1);
  await first.close();

  const second = await startTestServer({ location, rootKeys });
  expect(await second.asOwner().count(AuditEvent, event)).toBe(1);
  // A table that an operator has added is not among them.
  await second.asOwner().execute('create table device (id int, mac text null)');
  // An attacker who makes the database look like one of the earlier version gains nothing.
  const em = second.asOwner();
  await expect(em.execute('update api_key set mac = null')).rejects.toThrow(/not-null/);
  await em.execute('alter table api_key alter column mac drop not null');
  await em.execute(
    `insert into api_key (id, org_id, name, hash, scopes, created_at)
      select gen_random_uuid(), org_id, 'Planted', encode(sha256('planted-planted-planted-planted'), 'hex'), scopes, now()
      from api_key where id = ?`,
    [old.apiKeyId],
  );
  const planted = second.clientFor('planted-planted-planted-planted');
  const [error] = await errorsOf(planted.request('{ viewer { subject } }'));
  expect(error?.extensions.code).toBe('UNAUTHENTICATED');
  await second.close();
  const third = startTestServer({ location, rootKeys });
  await expect(third).rejects.toThrow(StartupError);
  await expect(third).rejects.toThrow('the MACs of api_key were removed');
});

test('does not open a database whose integrity key is missing with a new one', async () => {
  await using stack = new AsyncDisposableStack();
  const { location } = await lastingData(stack);
  const rootKeys = rootKey('k1');
  const first = await startTestServer({ location, rootKeys });
  await first.asOwner().execute(`delete from data_key where purpose = 'INTEGRITY'`);
  await first.close();
  await expect(startTestServer({ location, rootKeys })).rejects.toThrow(
    'the key that authenticates its rows is gone',
  );
});

/** Attacks that make a database look like one without MACs, with a planted API key. */
const tables = ['api_key', 'app_connection', 'audit_head', 'data_key', 'idempotent_request', 'project'];
const asBefore = [
  'set session_replication_role = replica',
  `delete from audit_event where org_id = '${unattributedOrgId}'`,
  `delete from audit_head where org_id = '${unattributedOrgId}'`,
  ...tables.flatMap((table) => [
    `alter table ${table} alter column mac drop not null`,
    `update ${table} set mac = null`,
  ]),
  `insert into api_key (id, org_id, name, hash, scopes, created_at)
    select gen_random_uuid(), org_id, 'Planted', encode(sha256('planted-planted-planted-planted'), 'hex'), scopes, now()
    from api_key limit 1`,
];
const integrityGone = `delete from data_key where purpose = 'INTEGRITY'`;
const systemGone = `delete from data_key where org_id = '${unattributedOrgId}'`;
const markersGone = `update data_key set wrapped = replace(wrapped, 'mac:', '')`;

test.each([
  { what: 'the audit trail that records the signing', statements: [] },
  { what: 'the integrity key too', statements: [integrityGone] },
  { what: 'every key of the system too', statements: [systemGone] },
  {
    what: 'the markers of data keys too',
    statements: [systemGone, markersGone],
    refusal: 'The data key was sealed for another rows',
  },
  { what: 'every key of the system, after an upgrade,', statements: [systemGone], isUpgraded: true },
])(
  'does not sign rows again when a database user removes their MACs and $what',
  async ({ statements, isUpgraded, refusal }) => {
    await using stack = new AsyncDisposableStack();
    const { location } = await lastingData(stack, { isMigrated: !isUpgraded });
    const rootKeys = rootKey('k1');
    if (isUpgraded) await databaseOfBefore(location, rootKeys);
    const first = await startTestServer({ location, rootKeys });
    await first.newOrganisation();
    await first.close();
    await executeAsOwner(location, `do $$ begin ${[...asBefore, ...statements].join('; ')}; end $$`);
    await expect(startTestServer({ location, rootKeys })).rejects.toThrow(refusal ?? 'were removed');
  },
);
