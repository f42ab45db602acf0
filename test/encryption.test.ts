import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addOrganisation } from '../src/administration/organisations.ts';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { Secret } from '../src/common/secret.ts';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { DataKey } from '../src/encryption/data-key.entity.ts';
import { DecryptionError } from '../src/encryption/jwe.ts';
import { rowMacsMarker } from '../src/encryption/keyring.ts';
import type { EncryptionContext } from '../src/encryption/sealed-secrets.ts';
import type { Sealed, Vault } from '../src/encryption/vault.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

let server: TestServer;
let oneOkta: TestOkta;
let otherOkta: TestOkta;
beforeAll(async () => {
  oneOkta = await startOkta();
  otherOkta = await startOkta();
  const trustedInstanceHosts = new Set([oneOkta.hostPort, otherOkta.hostPort]);
  server = await startTestServer({ config: { trustedInstanceHosts } });
});
afterAll(async () => {
  await server.close();
  await Promise.all([oneOkta.close(), otherOkta.close()]);
});

/** Creates a connection with a unique token. */
async function createConnection(
  { client }: TestOrganisation,
  differing: Record<string, unknown> = {},
  credentials: Record<string, unknown> = {},
) {
  const token = `token-${randomUUID()}`;
  const { createOktaConnection } = await client.request<Created>(
    createMutation,
    okta(differing, { apiToken: token, ...credentials }),
  );
  return { ...createOktaConnection.appConnection, token };
}

/** A stored row: its encryption context and its sealed credentials. */
async function readSealedRow(id: string): Promise<{ binding: EncryptionContext; sealed: Sealed }> {
  const row = await server
    .asOwner()
    .findOneOrFail(AppConnection, { id }, { populate: ['sealedCredentials'] });
  return {
    binding: {
      orgId: row.orgId,
      connectionId: row.id,
      app: row.app,
      method: row.method,
      host: new URL(row.publicCredentials.instanceUrl ?? '').host,
    },
    sealed: { text: row.sealedCredentials ?? '', dataKeyId: row.dataKeyId },
  };
}

/** Decrypts the credentials of a row with the encryption context of the row. */
async function openRow(id: string, vault: Vault = server.vault): Promise<Record<string, string>> {
  const { binding, sealed } = await readSealedRow(id);
  return open(vault, binding, sealed);
}

async function open(
  vault: Vault,
  binding: EncryptionContext,
  sealed: Sealed,
): Promise<Record<string, string>> {
  const opened = await vault.open(server.asOwner(), binding, sealed);
  return Object.fromEntries(Object.entries(opened).map(([name, secret]) => [name, secret.reveal()]));
}

const sql = (statement: string, parameters: string[] = []) => server.asOwner().execute(statement, parameters);

/** Asserts that a row does not decrypt, like `expectRefusal`. */
async function expectRowRefusal(id: string, token: string, vault: Vault = server.vault): Promise<string> {
  const { binding, sealed } = await readSealedRow(id);
  return expectRefusal(vault, binding, sealed, token);
}

/** Asserts that sealed credentials do not decrypt, and that the log has the reason but neither them nor the token. */
async function expectRefusal(
  vault: Vault,
  binding: EncryptionContext,
  sealed: Sealed,
  token: string,
): Promise<string> {
  const before = server.logs().length;
  await expect(open(vault, binding, sealed)).rejects.toThrow(DecryptionError);
  const logged = server.logs().slice(before);
  const [line = '{}'] = logged.split('\n').filter((text) => text.includes('sealed credentials do not open'));
  const { orgId, connectionId } = binding;
  expect(JSON.parse(line)).toMatchObject({ level: 'error', orgId, connectionId, reason: expect.any(String) });
  expect(new Secret(token).appearsIn(logged)).toBe(false);
  for (const piece of sealed.text.split('.').filter(Boolean)) expect(logged).not.toContain(piece);
  return String(JSON.parse(line).reason);
}

describe('sealed credentials', () => {
  const anyText = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme' }),
    // Any sequence of UTF-16 code units, including lone surrogates.
    fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  );

  test('decrypt to the text that was sealed, for any text', async () => {
    const { orgId } = await server.newOrganisation();
    await fc.assert(
      fc.asyncProperty(fc.dictionary(anyText, anyText), anyText, async (secrets, host) => {
        const binding = { orgId, connectionId: randomUUID(), app: 'okta', method: 'api-token', host };
        const given = Object.fromEntries(
          Object.entries(secrets).map(([name, value]) => [name, new Secret(value)]),
        );
        const sealed = await server.vault.seal(server.asOwner(), binding, given);
        expect(Object.entries(await open(server.vault, binding, sealed)).sort()).toEqual(
          Object.entries(secrets).sort(),
        );
      }),
      { numRuns: 200 * times },
    );
  });

  test('are stored as a JWE that is bound to its row and contains no token', async () => {
    const organisation = await server.newOrganisation();
    const connection = await createConnection(organisation);
    const { sealed } = await readSealedRow(connection.id);
    const parts = sealed.text.split('.');
    expect(parts).toHaveLength(5);
    expect(JSON.parse(Buffer.from(parts[0] ?? '', 'base64url').toString())).toEqual({
      alg: 'dir',
      enc: 'A256GCM',
      kid: sealed.dataKeyId,
      org: organisation.orgId,
      cid: connection.id,
      app: 'okta',
      method: 'api-token',
      host: 'example.okta.com',
    });
    const decoded = parts.map((part) => Buffer.from(part, 'base64url').toString('latin1')).join('\n');
    expect(new Secret(connection.token).appearsIn(sealed.text)).toBe(false);
    expect(new Secret(connection.token).appearsIn(decoded)).toBe(false);
    expect(await openRow(connection.id)).toEqual({ apiToken: connection.token });
  });

  test('differ each time, even for the same credentials', async () => {
    const { orgId } = await server.newOrganisation();
    const binding = { orgId, connectionId: randomUUID(), app: 'okta', method: 'api-token', host: '' };
    const seal = () => server.vault.seal(server.asOwner(), binding, { apiToken: new Secret('a-good-token') });
    const [one, other] = [await seal(), await seal()].map(({ text }) => text.split('.'));
    for (const part of [2, 3, 4]) expect(one?.[part]).not.toBe(other?.[part]);
  });

  test('do not decrypt when any single bit changes', async () => {
    const organisation = await server.newOrganisation();
    const { binding, sealed } = await readSealedRow((await createConnection(organisation)).id);
    const { text } = sealed;
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), fc.nat(6), async (position, bit) => {
        const flipped = String.fromCharCode(text.charCodeAt(position) ^ (1 << bit));
        const changed = text.slice(0, position) + flipped + text.slice(position + 1);
        await expect(open(server.vault, binding, { ...sealed, text: changed })).rejects.toThrow(
          DecryptionError,
        );
      }),
      { numRuns: 400 * times },
    );
  });

  test('do not decrypt when the last character of a part changes, even where it decodes to the same bytes', async () => {
    const organisation = await server.newOrganisation();
    const { binding, sealed } = await readSealedRow((await createConnection(organisation)).id);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const parts = sealed.text.split('.');
    const changed = parts.flatMap((part, index) =>
      [...(part && alphabet)]
        .filter((character) => !part.endsWith(character))
        .map((character) => parts.with(index, part.slice(0, -1) + character).join('.')),
    );
    const decode = (text: string) =>
      text.split('.').map((part) => Buffer.from(part, 'base64url').toString('hex'));
    // The tag has 16 bytes in 22 characters, so at least 15 other spellings decode to the same bytes.
    const same = changed.filter((text) => `${decode(text)}` === `${decode(sealed.text)}`);
    expect(same.length).toBeGreaterThanOrEqual(15);
    for (const text of changed) {
      await expect(open(server.vault, binding, { ...sealed, text })).rejects.toThrow(DecryptionError);
    }
  });
});

describe('sealed credentials that were moved', () => {
  test('to another row do not decrypt, and the log says so without showing them', async () => {
    const organisation = await server.newOrganisation();
    const [from, to] = [
      await createConnection(organisation),
      await createConnection(organisation, { name: 'another' }),
    ];
    await sql(
      `update app_connection set sealed_credentials =
        (select sealed_credentials from app_connection where id = ?) where id = ?`,
      [from.id, to.id],
    );
    expect(await expectRowRefusal(to.id, from.token)).toContain('another cid');
    expect(await openRow(from.id)).toEqual({ apiToken: from.token });
  });

  test('to another organisation do not decrypt, with or without their data key', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const connection = await createConnection(mine);
    await sql('update app_connection set org_id = ? where id = ?', [theirs.orgId, connection.id]);
    expect(await expectRowRefusal(connection.id, connection.token)).toContain('no such data key');

    const { dataKeyId } = (await readSealedRow(connection.id)).sealed;
    await sql('update data_key set org_id = ?, retired_at = now() where id = ?', [theirs.orgId, dataKeyId]);
    // This vault has cached the key from before the move.
    expect(await expectRowRefusal(connection.id, connection.token)).toContain('another org');
    await expectRowRefusal(connection.id, connection.token, server.restartedVault());
  });

  test.each([
    ['app', "app = 'slack'", 'another app'],
    ['method', "method = 'oauth'", 'another method'],
    ['host', `public_credentials = '{"instanceUrl":"https://evil.example"}'`, 'another host'],
  ])('to another %s do not decrypt', async (_, change, reason) => {
    const connection = await createConnection(await server.newOrganisation());
    await sql(`update app_connection set ${change} where id = ?`, [connection.id]);
    expect(await expectRowRefusal(connection.id, connection.token)).toContain(reason);
  });

  test('to another port of the same host do not decrypt', async () => {
    const connection = await createConnection(
      await server.newOrganisation(),
      {},
      { instanceUrl: oneOkta.origin },
    );
    expect(await openRow(connection.id)).toEqual({ apiToken: connection.token });
    const moved = JSON.stringify({ instanceUrl: otherOkta.origin });
    await sql('update app_connection set public_credentials = ?::jsonb where id = ?', [moved, connection.id]);
    expect(await expectRowRefusal(connection.id, connection.token)).toContain('another host');
  });
});

describe('wrapped data key', () => {
  const findDataKey = (orgId: string, purpose: DataKey['purpose'] = 'SEAL') =>
    server.asOwner().findOneOrFail(DataKey, { orgId, purpose });

  test('does not unwrap in place of another data key, of any purpose', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const connection = await createConnection(mine);
    const own = await findDataKey(mine.orgId);
    const others = [await findDataKey(theirs.orgId), await findDataKey(mine.orgId, 'FINGERPRINT')];
    // A later data key of the same organisation and purpose.
    await sql('update data_key set retired_at = now() where org_id = ?', [mine.orgId]);
    const em = server.asOwner();
    await server.vault.addDataKeys(em, mine.orgId);
    await em.flush();
    others.push(await em.findOneOrFail(DataKey, { orgId: mine.orgId, purpose: 'SEAL', retiredAt: null }));

    for (const { wrapped } of others) {
      await sql('update data_key set wrapped = ? where id = ?', [wrapped, own.id]);
      const reason = await expectRowRefusal(connection.id, connection.token, server.restartedVault());
      expect(reason).toContain('data key was sealed for another dk');
    }
    await sql('update data_key set wrapped = ? where id = ?', [own.wrapped, own.id]);
    expect(await openRow(connection.id, server.restartedVault())).toEqual({ apiToken: connection.token });
  });

  test('encrypts nothing for another organisation that it was moved to', async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const own = await findDataKey(mine.orgId);
    await sql('update data_key set retired_at = now() where org_id = ?', [theirs.orgId]);
    await sql('update data_key set org_id = ? where id = ?', [theirs.orgId, own.id]);
    const binding = {
      orgId: theirs.orgId,
      connectionId: randomUUID(),
      app: 'okta',
      method: 'api-token',
      host: '',
    };
    const token = new Secret('a-good-token');
    const sealing = server.restartedVault().seal(server.asOwner(), binding, { apiToken: token });
    await expect(sealing).rejects.toThrow(DecryptionError);
  });

  test('does not unwrap for another purpose', async () => {
    const { orgId } = await server.newOrganisation();
    await sql("update data_key set retired_at = now() where org_id = ? and purpose = 'FINGERPRINT'", [orgId]);
    await sql("update data_key set purpose = 'FINGERPRINT' where org_id = ? and purpose = 'SEAL'", [orgId]);
    const fingerprint = server
      .restartedVault()
      .mac(server.asOwner(), orgId, 'FINGERPRINT', { name: 'value' });
    await expect(fingerprint).rejects.toThrow();
  });

  test('does not unwrap when it was changed', async () => {
    const organisation = await server.newOrganisation();
    const connection = await createConnection(organisation);
    const { id, wrapped } = await findDataKey(organisation.orgId);
    for (const position of [0, 40, wrapped.lastIndexOf('.') - 2, wrapped.length - 2, wrapped.length - 1]) {
      const character = wrapped[position] === 'A' ? 'B' : 'A';
      const changed = wrapped.slice(0, position) + character + wrapped.slice(position + 1);
      await sql('update data_key set wrapped = ? where id = ?', [changed, id]);
      await expectRowRefusal(connection.id, connection.token, server.restartedVault());
    }
    await sql('update data_key set wrapped = ? where id = ?', [wrapped, id]);
    expect(await openRow(connection.id, server.restartedVault())).toEqual({ apiToken: connection.token });
  });
});

describe('root keys', () => {
  /** Creates an organisation after a new root key was put first. */
  async function rotate() {
    const rotated = server.restartedVault(rootKey('next'));
    const em = server.asOwner();
    const { orgId } = await addOrganisation(em, rotated, {
      name: 'Made after the rotation',
      projectName: 'Project',
      administratorKey: generateApiKey(),
    });
    await em.flush();
    return { rotated, orgId };
  }

  const rootKeyIds = async (orgId: string) =>
    (await server.asOwner().find(DataKey, { orgId })).map(({ purpose, rootKeyId, wrapped }) => [
      purpose,
      rootKeyId,
      JSON.parse(Buffer.from(wrapped.slice(rowMacsMarker.length).split('.')[0] ?? '', 'base64url').toString())
        .kid,
    ]);

  test('all unwrap data keys, and the first one wraps new ones', async () => {
    const organisation = await server.newOrganisation();
    const connection = await createConnection(organisation);
    const { rotated, orgId } = await rotate();
    expect(await openRow(connection.id, rotated)).toEqual({ apiToken: connection.token });
    expect((await rootKeyIds(organisation.orgId)).sort()).toEqual([
      ['AUDIT', 'test', 'test'],
      ['FINGERPRINT', 'test', 'test'],
      ['SEAL', 'test', 'test'],
    ]);
    expect((await rootKeyIds(orgId)).sort()).toEqual([
      ['AUDIT', 'next', 'next'],
      ['FINGERPRINT', 'next', 'next'],
      ['SEAL', 'next', 'next'],
    ]);
  });

  test('leave data keys undecryptable when they are missing, and the log says so', async () => {
    const { rotated, orgId } = await rotate();
    const binding = { orgId, connectionId: randomUUID(), app: 'okta', method: 'api-token', host: '' };
    const token = `token-${randomUUID()}`;
    const sealed = await rotated.seal(server.asOwner(), binding, { apiToken: new Secret(token) });
    expect(await open(rotated, binding, sealed)).toEqual({ apiToken: token });
    expect(await expectRefusal(server.vault, binding, sealed, token)).toContain(
      'not among the encryption keys',
    );
  });
});

describe('hash of credentials', () => {
  async function createAndHash(
    { client }: TestOrganisation,
    name: string,
    credentials: Record<string, unknown> = {},
  ): Promise<string> {
    const { createOktaConnection } = await client.request<Created>(
      createMutation,
      okta({ name }, credentials),
    );
    return createOktaConnection.appConnection.credentialsHash;
  }

  test('is the same for equal credentials within an organisation, in any spelling', async () => {
    const organisation = await server.newOrganisation();
    const hash = await createAndHash(organisation, 'one');
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(await createAndHash(organisation, 'two')).toBe(hash);
    const written = { instanceUrl: ' https://EXAMPLE.okta.com/ ', apiToken: ' a-good-token ' };
    expect(await createAndHash(organisation, 'three', written)).toBe(hash);
  });

  test('differs with the token and with the host', async () => {
    const organisation = await server.newOrganisation();
    const hashes = [
      await createAndHash(organisation, 'one', { instanceUrl: oneOkta.origin }),
      await createAndHash(organisation, 'two', { instanceUrl: oneOkta.origin, apiToken: 'another-token' }),
      await createAndHash(organisation, 'three', { instanceUrl: otherOkta.origin }),
    ];
    expect(new Set(hashes).size).toBe(3);
  });

  test('differs between organisations', async () => {
    const hash = await createAndHash(await server.newOrganisation(), 'one');
    expect(await createAndHash(await server.newOrganisation(), 'one')).not.toBe(hash);
  });
});
