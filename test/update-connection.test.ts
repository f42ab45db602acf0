import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { purgeExpired } from '../src/connections/operations/purge.ts';
import {
  rateLimited,
  slowHeaders,
  startOkta,
  type TestOkta,
  tokenRejected,
  weakRole,
} from './testkit/okta.ts';
import {
  byIdQuery,
  type ConnectionFields,
  type Created,
  createMutation,
  okta,
} from './testkit/operations.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';

const updateMutation = gql`
  mutation Update($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) {
      appConnection {
        id name description version createdAt updatedAt credentialsHash
        credentials { instanceUrl ... on OktaCredentials { tokenOwner { id login status } } }
        verification { status checkedAt lastVerifiedAt failingSince code }
      }
    }
  }
`;
const verifyMutation = gql`
  mutation Verify($id: UUID!) {
    verifyAppConnection(id: $id) {
      appConnection { version verification { status checkedAt lastVerifiedAt failingSince code message } }
    }
  }
`;

interface Verified {
  verifyAppConnection: {
    appConnection: {
      version: number;
      verification: {
        status: string;
        checkedAt: string;
        lastVerifiedAt: string | null;
        failingSince: string | null;
        code: string | null;
      };
    };
  };
}

const trusted = new Set<string>();
let server: TestServer;
let upstream: TestOkta;
let elsewhere: TestOkta;
beforeAll(async () => {
  server = await startTestServer({
    config: { trustedInstanceHosts: trusted },
    outbound: { timeoutMs: 1_000 },
  });
});
afterAll(() => server.close());
beforeEach(async () => {
  upstream = await startOkta();
  elsewhere = await startOkta();
  trusted.add(upstream.hostPort).add(elsewhere.hostPort);
  return () => Promise.all([upstream.close(), elsewhere.close()]);
});

async function make({ client }: TestOrganisation, differing: Record<string, unknown> = {}) {
  const { createOktaConnection } = await client.request<Created>(
    createMutation,
    okta(differing, { instanceUrl: upstream.origin, apiToken: 'the-first-token' }),
  );
  return createOktaConnection.appConnection;
}

async function update({ client }: TestOrganisation, id: string, input: Record<string, unknown>) {
  const { updateOktaConnection } = await client.request<{
    updateOktaConnection: {
      appConnection: ConnectionFields & { verification: { failingSince: string | null } };
    };
  }>(updateMutation, { id, input });
  return updateOktaConnection.appConnection;
}

async function read({ client }: TestOrganisation, id: string) {
  const { appConnection } = await client.request<{ appConnection: ConnectionFields }>(byIdQuery, { id });
  return appConnection;
}

/** The token that the host was last asked about. */
const tokenSeenBy = (host: TestOkta) =>
  host.requests.findLast(({ path }) => path.endsWith('/me'))?.headers.authorization;

describe('updating a connection', () => {
  it('changes name and description without a request to Okta', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation, { description: 'Before' });
    const asked = upstream.requests.length;
    const changed = await update(organisation, made.id, { name: ' renamed ', description: 'After' });
    expect(changed).toMatchObject({
      name: 'renamed',
      description: 'After',
      version: 2,
      createdAt: made.createdAt,
      credentialsHash: made.credentialsHash,
    });
    expect(Date.parse(changed.updatedAt)).toBeGreaterThanOrEqual(Date.parse(made.updatedAt));
    expect(upstream.requests).toHaveLength(asked);
    expect(await read(organisation, made.id)).toMatchObject({ name: 'renamed', version: 2 });
  });

  it('keeps absent fields, clears nullable fields with null and rejects null for others', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation, { description: 'Kept' });
    expect(await update(organisation, made.id, { name: 'other' })).toMatchObject({ description: 'Kept' });
    expect(await update(organisation, made.id, { description: null })).toMatchObject({
      description: null,
      name: 'other',
    });
    const [error] = await errorsOf(update(organisation, made.id, { name: null }));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'name'] }],
    });
  });

  it('keeps the version when nothing changes', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    for (const input of [{}, { name: made.name }, { credentials: { instanceUrl: upstream.origin } }]) {
      expect(await update(organisation, made.id, input)).toMatchObject({
        version: 1,
        updatedAt: made.updatedAt,
      });
    }
  });

  it('replaces the token when Okta accepts the new one', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const changed = await update(organisation, made.id, { credentials: { apiToken: 'the-second-token' } });
    expect(changed).toMatchObject({ version: 2, verification: { status: 'VERIFIED' } });
    expect(changed.credentialsHash).not.toBe(made.credentialsHash);
    expect(tokenSeenBy(upstream)).toBe('SSWS the-second-token');
    await organisation.client.request(verifyMutation, { id: made.id });
    expect(tokenSeenBy(upstream)).toBe('SSWS the-second-token');
  });

  it.each([
    ['rejects', tokenRejected, 'CREDENTIALS_REJECTED'],
    ['reports missing permissions of', weakRole, 'INSUFFICIENT_PERMISSIONS'],
    ['does not answer for', slowHeaders, 'UPSTREAM_UNREACHABLE'],
  ])('keeps the old token when Okta %s the new one', async (_, behaviour, code) => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const accepting = upstream;
    accepting.behave(behaviour);
    const [error] = await errorsOf(
      update(organisation, made.id, {
        name: 'not-this-either',
        credentials: { apiToken: 'the-second-token' },
      }),
    );
    expect(error?.extensions.code).toBe(code);
    expect(await read(organisation, made.id)).toEqual(made);
    await organisation.client.request(verifyMutation, { id: made.id });
    expect(tokenSeenBy(upstream)).toBe('SSWS the-first-token');
  });

  it('never sends the stored token to a new host', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const [error] = await errorsOf(
      update(organisation, made.id, { credentials: { instanceUrl: elsewhere.origin } }),
    );
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'credentials', 'apiToken'] }],
    });
    expect(elsewhere.requests).toHaveLength(0);
    const moved = await update(organisation, made.id, {
      credentials: { instanceUrl: elsewhere.origin, apiToken: 'for-elsewhere' },
    });
    expect(moved.credentials.instanceUrl).toBe(elsewhere.origin);
    expect(elsewhere.requests.map(({ headers }) => headers.authorization)).toContain('SSWS for-elsewhere');
    expect(JSON.stringify(elsewhere.requests)).not.toContain('the-first-token');
    await organisation.client.request(verifyMutation, { id: made.id });
    expect(tokenSeenBy(elsewhere)).toBe('SSWS for-elsewhere');
  });

  it('requires allowDifferentOktaOrg to move to another or unknown Okta organisation', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const credentials = { instanceUrl: elsewhere.origin, apiToken: 'for-elsewhere' };
    for (const body of ['{"id":"00oANOTHER"}', 'not json', '{}']) {
      elsewhere.behave((request, response) => {
        if (request.url?.startsWith('/.well-known')) response.end(body);
        else response.end('{"id":"00u1"}');
      });
      const [error] = await errorsOf(update(organisation, made.id, { credentials }));
      expect(error?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        issues: [{ path: ['input', 'allowDifferentOktaOrg'] }],
      });
      expect(tokenSeenBy(elsewhere)).toBeUndefined();
    }
    const moved = await update(organisation, made.id, { credentials, allowDifferentOktaOrg: true });
    expect(moved).toMatchObject({ version: 2, credentials: { instanceUrl: elsewhere.origin } });
  });

  it('fails with VERSION_CONFLICT and the current version when the version is stale', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    await update(organisation, made.id, { version: 1, name: 'first' });
    const asked = upstream.requests.length;
    const [error] = await errorsOf(
      update(organisation, made.id, {
        version: 1,
        name: 'second',
        credentials: { apiToken: 'another-token' },
      }),
    );
    expect(error?.extensions).toMatchObject({ code: 'VERSION_CONFLICT', currentVersion: 2 });
    expect(upstream.requests).toHaveLength(asked);
    expect(await update(organisation, made.id, { version: 2, name: 'second' })).toMatchObject({ version: 3 });
  });

  it('increments the version by one for each of 50 concurrent updates', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const changed = await Promise.all(
      Array.from({ length: 50 }, (_, i) => update(organisation, made.id, { description: `Change ${i}` })),
    );
    expect(changed.map(({ version }) => version).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 2),
    );
  });

  it('applies one of 50 concurrent updates with the same version and rejects the others', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, (_, i) =>
        update(organisation, made.id, { version: 1, description: `Change ${i}` }),
      ),
    );
    const refused = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    expect(refused).toHaveLength(49);
    for (const { response } of refused) expect(response.errors[0].extensions.code).toBe('VERSION_CONFLICT');
    expect(await read(organisation, made.id)).toMatchObject({ version: 2 });
  });

  it('fails with NAME_TAKEN for a name in use, also under concurrency', async () => {
    const organisation = await server.newOrganisation();
    const made = await Promise.all(
      ['one', 'two', 'three', 'four'].map((name) => make(organisation, { name })),
    );
    const [error] = await errorsOf(update(organisation, made[0]?.id ?? '', { name: 'two' }));
    expect(error?.extensions).toMatchObject({ code: 'NAME_TAKEN', issues: [{ path: ['input', 'name'] }] });
    const outcomes = await Promise.allSettled(
      made.map(({ id }) => update(organisation, id, { name: 'wanted' })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of outcomes) {
      if (each.status === 'rejected')
        expect(each.reason.response.errors[0].extensions.code).toBe('NAME_TAKEN');
    }
  });

  it("fails with NOT_FOUND for another organisation's connection and requires connections:write", async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const made = await make(theirs);
    const [notFound] = await errorsOf(update(mine, made.id, { name: 'mine-now' }));
    expect(notFound?.extensions.code).toBe('NOT_FOUND');
    const reader = { ...theirs, client: server.clientFor(await theirs.newKey(['connections:read'])) };
    const [forbidden] = await errorsOf(update(reader, made.id, { name: 'mine-now' }));
    expect(forbidden?.extensions.code).toBe('FORBIDDEN');
  });
});

describe('verifying a connection again', () => {
  const verify = async ({ client }: TestOrganisation, id: string) =>
    (await client.request<Verified>(verifyMutation, { id })).verifyAppConnection.appConnection;

  it('stores the result, lastVerifiedAt and failingSince without a new version', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const good = await verify(organisation, made.id);
    expect(good).toMatchObject({
      version: 1,
      verification: { status: 'VERIFIED', failingSince: null, code: null },
    });
    expect(good.verification.lastVerifiedAt).toBe(good.verification.checkedAt);

    upstream.behave(tokenRejected);
    const bad = await verify(organisation, made.id);
    expect(bad.verification).toMatchObject({
      status: 'REJECTED',
      code: 'CREDENTIALS_REJECTED',
      lastVerifiedAt: good.verification.checkedAt,
      failingSince: bad.verification.checkedAt,
    });
    const still = await verify(organisation, made.id);
    expect(still.verification).toMatchObject({ failingSince: bad.verification.failingSince });
    expect(await read(organisation, made.id)).toMatchObject({
      version: 1,
      verification: { status: 'REJECTED' },
      credentials: { tokenOwner: made.credentials.tokenOwner },
    });
  });

  it.each([
    ['does not answer', slowHeaders],
    ['is rate limiting', rateLimited(new Date(Date.now() + 60_000))],
  ])('reports UNREACHABLE, not REJECTED, when Okta %s', async (_, behaviour) => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    upstream.behave(behaviour);
    expect((await verify(organisation, made.id)).verification).toMatchObject({
      status: 'UNREACHABLE',
      lastVerifiedAt: made.verification.checkedAt,
    });
  });

  it('requires connections:verify', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const client = server.clientFor(await organisation.newKey(['connections:read', 'connections:write']));
    const [error] = await errorsOf(client.request(verifyMutation, { id: made.id }));
    expect(error?.extensions.code).toBe('FORBIDDEN');
  });
});

describe('deleting and restoring a connection', () => {
  const rowsOf = (id: string) => server.asOwner().count(AppConnection, { id });
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
  interface DeletedAnswer {
    deleteAppConnection: { id: string; restorableUntil: string | null };
  }

  it('hides a deleted connection, frees its name, and restores it', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    const made = await make(organisation);
    const { deleteAppConnection } = await client.request<DeletedAnswer>(deletion, { id: made.id });
    const days = (Date.parse(deleteAppConnection.restorableUntil ?? '') - Date.now()) / 86_400_000;
    expect(days).toBeCloseTo(30, 2);
    const [hidden] = await errorsOf(read(organisation, made.id));
    expect(hidden?.extensions.code).toBe('NOT_FOUND');
    const again = await make(organisation);
    const [taken] = await errorsOf(client.request(restoration, { id: made.id }));
    expect(taken?.extensions).toMatchObject({ code: 'NAME_TAKEN', issues: [{ path: ['name'] }] });
    const restored = await client.request(restoration, { id: made.id, name: 'back-again' });
    expect(restored).toEqual({
      restoreAppConnection: { appConnection: { id: made.id, name: 'back-again', version: 3 } },
    });
    await client.request(verifyMutation, { id: made.id });
    expect(tokenSeenBy(upstream)).toBe('SSWS the-first-token');
    expect(again.id).not.toBe(made.id);
  });

  it('removes the row and its secret with purge, also of a deleted connection', async () => {
    const organisation = await server.newOrganisation();
    const { client } = organisation;
    for (const isDeletedBefore of [false, true]) {
      const made = await make(organisation);
      if (isDeletedBefore) await client.request(deletion, { id: made.id });
      const { deleteAppConnection } = await client.request<DeletedAnswer>(deletion, {
        id: made.id,
        purge: true,
      });
      expect(deleteAppConnection.restorableUntil).toBeNull();
      expect(await rowsOf(made.id)).toBe(0);
      const [gone] = await errorsOf(client.request(restoration, { id: made.id }));
      expect(gone?.extensions.code).toBe('NOT_FOUND');
    }
  });

  it('cannot restore after the retention, when the row is purged', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    await organisation.client.request(deletion, { id: made.id });
    await changeRows(server, AppConnection, { id: made.id }, () => ({
      deletedAt: new Date(Date.now() - 30 * 86_400_000),
    }));
    const [late] = await errorsOf(organisation.client.request(restoration, { id: made.id }));
    expect(late).toMatchObject({
      message: expect.stringMatching(/too long ago/),
      extensions: { code: 'NOT_FOUND' },
    });
    await purgeExpired({ database: server.database, vault: server.vault, deletedRetentionDays: 30 });
    expect(await rowsOf(made.id)).toBe(0);
  });

  it('fails with VERSION_CONFLICT when the version is stale, and with NOT_FOUND when already deleted', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    await update(organisation, made.id, { description: 'Changed' });
    const [stale] = await errorsOf(organisation.client.request(deletion, { id: made.id, version: 1 }));
    expect(stale?.extensions).toMatchObject({ code: 'VERSION_CONFLICT', currentVersion: 2 });
    await organisation.client.request(deletion, { id: made.id, version: 2 });
    const [gone] = await errorsOf(organisation.client.request(deletion, { id: made.id }));
    expect(gone?.extensions.code).toBe('NOT_FOUND');
  });

  it('applies each update or delete completely when they run concurrently', async () => {
    const organisation = await server.newOrganisation();
    const made = await make(organisation);
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 20 }, (_, i) => update(organisation, made.id, { description: `Change ${i}` })),
      ...Array.from({ length: 5 }, () => organisation.client.request(deletion, { id: made.id })),
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
    }>(restoration, { id: made.id });
    expect(restored.restoreAppConnection.appConnection.version).toBe(1 + changes + 2);
  });

  it("fails with NOT_FOUND for another organisation's connection", async () => {
    const [mine, theirs] = [await server.newOrganisation(), await server.newOrganisation()];
    const made = await make(theirs);
    for (const purge of [false, true]) {
      const [error] = await errorsOf(mine.client.request(deletion, { id: made.id, purge }));
      expect(error?.extensions.code).toBe('NOT_FOUND');
    }
    await theirs.client.request(deletion, { id: made.id });
    const [error] = await errorsOf(mine.client.request(restoration, { id: made.id }));
    expect(error?.extensions.code).toBe('NOT_FOUND');
  });
});
