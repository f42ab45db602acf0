import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { currentTimeMs } from '../src/common/clock.ts';
import { createKey, keysOf, revokeKey, viewerOf } from './testkit/access.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let other: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  other = testDatabaseUrl ? await startTestServer({ beside: server }) : server;
  const em = server.asOwner();
  await em.execute('create table key_write (id uuid not null)');
  await em.execute(`create function tell_key_write() returns trigger language plpgsql security definer as $$
    begin
      insert into key_write values (new.id);
      return new;
    end $$`);
  await em.execute(
    'create trigger tell_key_write after update on api_key for each row execute function tell_key_write()',
  );
});
afterAll(async () => {
  if (other !== server) await other.close();
  await server.close();
});

/** Counts the updates of a key's row. */
async function countWrites(id: string): Promise<number> {
  const [row] = await server
    .asOwner()
    .execute<{ count: number }[]>(`select count(*)::int as count from key_write where id = '${id}'`);
  return row?.count ?? -1;
}

/** Counts the look-ups by hash of all servers. */
const lookUps = () =>
  [...new Set([server, other])].flatMap((each) => each.logs().match(/where \\"a0\\"\.\\"hash\\" = /g) ?? [])
    .length;

/** Uses a key concurrently and sequentially on each server, each time with an empty cache. */
async function useMuch(organisation: TestOrganisation, key: string, spent: string): Promise<void> {
  for (let round = 0; round < 4; round += 1) {
    for (const each of [server, other]) {
      // A revocation, even of a revoked key, empties the authentication cache.
      await revokeKey(each.clientFor(organisation.apiKey), spent);
      await Promise.all(Array.from({ length: 6 }, () => viewerOf(each.clientFor(key))));
    }
  }
}

describe('lastUsedAt of an API key', () => {
  it('is written at most once a minute and accurate to the minute', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    const { key, apiKey } = await createKey(client);
    const spent = (await createKey(client)).apiKey.id;
    await revokeKey(client, spent);
    const lastUsed = async () =>
      (await keysOf(client)).find(({ id }) => id === apiKey.id)?.lastUsedAt ?? null;
    expect(await lastUsed()).toBeNull();
    expect(await countWrites(apiKey.id)).toBe(0);

    const before = currentTimeMs();
    const looked = lookUps();
    await useMuch(organisation, key, spent);
    expect(lookUps() - looked).toBeGreaterThanOrEqual(8);
    expect(await countWrites(apiKey.id)).toBe(1);
    const first = await lastUsed();
    expect(Date.parse(first ?? '')).toBeGreaterThanOrEqual(before);
    expect(Date.parse(first ?? '')).toBeLessThanOrEqual(currentTimeMs());

    const setBack = (seconds: number) =>
      server
        .asOwner()
        .execute(
          `update api_key set last_used_at = now() - interval '${seconds} seconds' where id = '${apiKey.id}'`,
        );
    await setBack(30);
    await useMuch(organisation, key, spent);
    expect(await countWrites(apiKey.id)).toBe(2);

    await setBack(61);
    const later = currentTimeMs();
    await useMuch(organisation, key, spent);
    expect(await countWrites(apiKey.id)).toBe(4);
    expect(Date.parse((await lastUsed()) ?? '')).toBeGreaterThanOrEqual(later - 1);
  });

  it('is not written for a rejected key', async () => {
    const { client } = await server.newOrganisation();
    const { key, apiKey } = await createKey(client);
    await revokeKey(client, apiKey.id);
    await errorsOf(viewerOf(server.clientFor(key)));
    expect(await countWrites(apiKey.id)).toBe(1);
    expect((await keysOf(client, true)).find(({ id }) => id === apiKey.id)?.lastUsedAt).toBeNull();
  });
});
