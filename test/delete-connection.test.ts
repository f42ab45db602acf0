import { gql } from 'graphql-request';
import { describe, expect, it } from 'vitest';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { purgeExpired } from '../src/connections/operations/purge.ts';
import { errorsOf } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';
import { lastAuthorization, useServerWithTwoHosts, verifyMutation } from './testkit/two-hosts.ts';

const fixture = useServerWithTwoHosts();
const { create, update, read } = fixture;

describe('deleting and restoring a connection', () => {
  const countRows = (id: string) => fixture.server.asOwner().count(AppConnection, { id });
  const deletion = gql`
    mutation Delete($id: UUID!, $version: Int, $purge: Boolean! = false) {
      deleteAppConnection(id: $id, version: $version, purge: $purge) { id restorableUntil }
    }
  `;
  const restoration = gql`
    mutation Restore($id: UUID!, $name: String) {
      restoreAppConnection(id: $id, name: $name) { appConnection { id name version } }
    }
  `;
  interface DeleteResult {
    deleteAppConnection: { id: string; restorableUntil: string | null };
  }

  it('hides a deleted connection, frees its name, and restores it', async () => {
    const organisation = await fixture.server.newOrganisation();
    const { client } = organisation;
    const connection = await create(organisation);
    const { deleteAppConnection } = await client.request<DeleteResult>(deletion, { id: connection.id });
    const days = (Date.parse(deleteAppConnection.restorableUntil ?? '') - Date.now()) / 86_400_000;
    expect(days).toBeCloseTo(30, 2);
    const [hidden] = await errorsOf(read(organisation, connection.id));
    expect(hidden?.extensions.code).toBe('NOT_FOUND');
    const again = await create(organisation);
    const [taken] = await errorsOf(client.request(restoration, { id: connection.id }));
    expect(taken?.extensions).toMatchObject({ code: 'NAME_TAKEN', issues: [{ path: ['name'] }] });
    const restored = await client.request(restoration, { id: connection.id, name: 'back-again' });
    expect(restored).toEqual({
      restoreAppConnection: { appConnection: { id: connection.id, name: 'back-again', version: 3 } },
    });
    await client.request(verifyMutation, { id: connection.id });
    expect(lastAuthorization(fixture.upstream)).toBe('SSWS the-first-token');
    expect(again.id).not.toBe(connection.id);
  });

  it('removes the row and its secret with purge, also of a deleted connection', async () => {
    const organisation = await fixture.server.newOrganisation();
    const { client } = organisation;
    for (const isDeletedBefore of [false, true]) {
      const connection = await create(organisation);
      if (isDeletedBefore) await client.request(deletion, { id: connection.id });
      const { deleteAppConnection } = await client.request<DeleteResult>(deletion, {
        id: connection.id,
        purge: true,
      });
      expect(deleteAppConnection.restorableUntil).toBeNull();
      expect(await countRows(connection.id)).toBe(0);
      const [gone] = await errorsOf(client.request(restoration, { id: connection.id }));
      expect(gone?.extensions.code).toBe('NOT_FOUND');
    }
  });

  it('cannot restore after the retention, when the row is purged', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    await organisation.client.request(deletion, { id: connection.id });
    await changeRows(fixture.server, AppConnection, { id: connection.id }, () => ({
      deletedAt: new Date(Date.now() - 30 * 86_400_000),
    }));
    const [late] = await errorsOf(organisation.client.request(restoration, { id: connection.id }));
    expect(late).toMatchObject({
      message: expect.stringMatching(/retention period has ended/),
      extensions: { code: 'NOT_FOUND' },
    });
    await purgeExpired({
      database: fixture.server.database,
      vault: fixture.server.vault,
      deletedRetentionDays: 30,
    });
    expect(await countRows(connection.id)).toBe(0);
  });

  it('fails with VERSION_CONFLICT when the version is stale, and with NOT_FOUND when already deleted', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    await update(organisation, connection.id, { description: 'Changed' });
    const [stale] = await errorsOf(organisation.client.request(deletion, { id: connection.id, version: 1 }));
    expect(stale?.extensions).toMatchObject({ code: 'VERSION_CONFLICT', currentVersion: 2 });
    await organisation.client.request(deletion, { id: connection.id, version: 2 });
    const [gone] = await errorsOf(organisation.client.request(deletion, { id: connection.id }));
    expect(gone?.extensions.code).toBe('NOT_FOUND');
  });

  it('applies each update or delete completely when they run concurrently', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 20 }, (_, i) =>
        update(organisation, connection.id, { description: `Change ${i}` }),
      ),
      ...Array.from({ length: 5 }, () => organisation.client.request(deletion, { id: connection.id })),
    ]);
    const deletions = outcomes.slice(20);
    expect(deletions.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of outcomes) {
      if (each.status === 'rejected')
        expect(each.reason.response.errors[0].extensions.code).toBe('NOT_FOUND');
    }
    const changes = outcomes.slice(0, 20).filter(({ status }) => status === 'fulfilled').length;
    const restored = await organisation.client.request<{
      restoreAppConnection: { appConnection: { version: number } };
    }>(restoration, { id: connection.id });
    expect(restored.restoreAppConnection.appConnection.version).toBe(1 + changes + 2);
  });

  it("fails with NOT_FOUND for another organisation's connection", async () => {
    const [mine, theirs] = [await fixture.server.newOrganisation(), await fixture.server.newOrganisation()];
    const connection = await create(theirs);
    for (const purge of [false, true]) {
      const [error] = await errorsOf(mine.client.request(deletion, { id: connection.id, purge }));
      expect(error?.extensions.code).toBe('NOT_FOUND');
    }
    await theirs.client.request(deletion, { id: connection.id });
    const [error] = await errorsOf(mine.client.request(restoration, { id: connection.id }));
    expect(error?.extensions.code).toBe('NOT_FOUND');
  });
});
