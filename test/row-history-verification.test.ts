import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { Secret } from '../src/common/secret.ts';
import { purgeExpired } from '../src/connections/operations/purge.ts';
import { DataKey } from '../src/encryption/data-key.entity.ts';
import { parseKeyring } from '../src/encryption/keyring.ts';
import { rotateKeys } from '../src/key-rotation/rotate-keys.ts';
import { createKey, listContradictions, revokeKey } from './testkit/access.ts';
import { createDatabaseAttacker } from './testkit/database-attacker.ts';
import {
  createConnection,
  deleteMutation,
  presetMutation,
  restoreMutation,
  updateMutation,
  verifyMutation,
} from './testkit/operations.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { createLink, revokeLink } from './testkit/setup-links.ts';

let server: TestServer;
let sql: ReturnType<typeof createDatabaseAttacker>;
beforeAll(async () => {
  server = await startTestServer();
  sql = createDatabaseAttacker(server);
});
afterAll(() => server.close());

async function createNamed(organisation: TestOrganisation, name: string): Promise<string> {
  return (await createConnection(organisation, { name })).id;
}

const contradictions = ({ orgId }: TestOrganisation) => listContradictions(server, orgId);

test('audit verification accepts rows after every kind of change by requests', async () => {
  const organisation = await server.newOrganisation();
  const { client } = organisation;
  const [id, purged] = [await createNamed(organisation, 'a'), await createNamed(organisation, 'b')];
  await client.request(updateMutation, { id, input: { name: 'renamed' } });
  await client.request(updateMutation, { id, input: {} });
  await client.request(updateMutation, { id, input: { credentials: { apiToken: 'another' } } });
  await client.request(verifyMutation, { id });
  await client.request(presetMutation, { id, preset: 'LOGS_READ' });
  await client.request(presetMutation, { id, preset: 'LOGS_READ' });
  await client.request(deleteMutation, { id });
  await client.request(restoreMutation, { id });
  await client.request(deleteMutation, { id: purged, purge: true });
  const { apiKey } = await createKey(client);
  await revokeKey(client, apiKey.id);
  expect(await contradictions(organisation)).toEqual([]);
});

test('audit verification reports an old row of a connection, a revoked API key or setup link, and a missing connection', async () => {
  const organisation = await server.newOrganisation();
  const { client } = organisation;
  const [changed, deleted, gone, restricted] = [
    await createNamed(organisation, 'a'),
    await createNamed(organisation, 'b'),
    await createNamed(organisation, 'c'),
    await createNamed(organisation, 'd'),
  ];
  await client.request(presetMutation, { id: restricted, preset: 'READ_WRITE' });
  const { key, apiKey } = await createKey(client);
  const link = await createLink(client, restricted);
  const putBack = [
    await sql.putBackLater('connection_setup_link', link.id),
    await sql.putBackLater('app_connection', changed),
    await sql.putBackLater('app_connection', deleted),
    await sql.putBackLater('app_connection', restricted),
    await sql.putBackLater('api_key', apiKey.id),
  ];
  await client.request(updateMutation, { id: changed, input: { credentials: { apiToken: 'another' } } });
  await client.request(deleteMutation, { id: deleted });
  await client.request(presetMutation, { id: restricted, preset: 'LOGS_READ' });
  await revokeKey(client, apiKey.id);
  await revokeLink(client, link.id);
  expect(await contradictions(organisation)).toEqual([]);
  for (const put of putBack) await put();
  await sql('delete from app_connection where id = ?', [gone]);
  expect((await contradictions(organisation)).sort()).toEqual(
    [
      `api_key {"id":"${apiKey.id}"}: active, but the audit trail says that it was revoked`,
      `connection_setup_link {"id":"${link.id}"}: active, but the audit trail says that it was used or revoked`,
      `app_connection {"id":"${changed}"}: at version 1, but the audit trail has version 2`,
      `app_connection {"id":"${deleted}"}: at version 1, but the audit trail has version 2`,
      `app_connection {"id":"${restricted}"}: at version 2, but the audit trail has version 3`,
      `app_connection {"id":"${gone}"}: missing, but the audit trail has no purge`,
    ].sort(),
  );
  expect(key).toBeDefined();
});

test('audit verification reports a purge after a forged deletion date, and accepts a real deletion', async () => {
  const organisation = await server.newOrganisation();
  const { client } = organisation;
  const [live, restored, deleted] = [
    await createNamed(organisation, 'a'),
    await createNamed(organisation, 'b'),
    await createNamed(organisation, 'c'),
  ];
  for (const id of [restored, deleted]) await client.request(deleteMutation, { id });
  await client.request(restoreMutation, { id: restored });
  await sql("update app_connection set deleted_at = now() - interval '31 days' where org_id = ?", [
    organisation.orgId,
  ]);
  await purgeExpired({ database: server.database, vault: server.vault, deletedRetentionDays: 30 });
  expect((await contradictions(organisation)).sort()).toEqual(
    [live, restored]
      .map(
        (id) => `app_connection {"id":"${id}"}: purged by the clean-up, but the audit trail has no deletion`,
      )
      .sort(),
  );
  expect(await sql('select id from app_connection where id = ?', [deleted])).toEqual([]);
});

test('audit verification reports a data key that was reset to its state before its replacement', async () => {
  const organisation = await server.newOrganisation();
  const { orgId } = organisation;
  await createNamed(organisation, 'a');
  const { keyring } = server.vault.dataKeys;
  const sealKey = { orgId, purpose: 'SEAL', retiredAt: null } as const;
  const { id: stolen } = await server.asOwner().findOneOrFail(DataKey, sealKey);
  server.vault.dataKeys.keyring = parseKeyring(new Secret(`${rootKey('next')},${server.rootKey}`));
  const { database, vault } = server;
  const parts = { apps: createApps({ trustedHosts: new Set() }), database, vault };
  await rotateKeys(parts, { reseal: false, onProgress: () => {} });
  const putBack = await sql.putBackLater('data_key', stolen);
  await rotateKeys(parts, { reseal: true, onProgress: () => {} });
  expect(await contradictions(organisation)).toEqual([]);
  await sql('alter table data_key disable trigger all');
  await sql(`delete from data_key where org_id = ? and purpose = 'SEAL' and id <> ?`, [orgId, stolen]);
  await putBack();
  expect(await contradictions(organisation)).toEqual([
    `data_key of organisation ${orgId}: 0 retired keys, but the audit trail has 1 rotations`,
  ]);
  vault.dataKeys.keyring = keyring;
});
