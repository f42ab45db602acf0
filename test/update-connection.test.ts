import { describe, expect, it } from 'vitest';
import { insufficientRole, slowHeaders, tokenRejected } from './testkit/okta.ts';
import { errorsOf } from './testkit/server.ts';
import { lastAuthorization, useServerWithTwoHosts, verifyMutation } from './testkit/two-hosts.ts';

const fixture = useServerWithTwoHosts();
const { create, update, read } = fixture;

describe('updating a connection', () => {
  it('changes name and description without a request to Okta', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation, { description: 'Before' });
    const requestCount = fixture.upstream.requests.length;
    const changed = await update(organisation, connection.id, { name: ' renamed ', description: 'After' });
    expect(changed).toMatchObject({
      name: 'renamed',
      description: 'After',
      version: 2,
      createdAt: connection.createdAt,
      credentialsHash: connection.credentialsHash,
    });
    expect(Date.parse(changed.updatedAt)).toBeGreaterThanOrEqual(Date.parse(connection.updatedAt));
    expect(fixture.upstream.requests).toHaveLength(requestCount);
    expect(await read(organisation, connection.id)).toMatchObject({ name: 'renamed', version: 2 });
  });

  it('keeps absent fields, clears nullable fields with null and rejects null for others', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation, { description: 'Kept' });
    expect(await update(organisation, connection.id, { name: 'other' })).toMatchObject({
      description: 'Kept',
    });
    expect(await update(organisation, connection.id, { description: null })).toMatchObject({
      description: null,
      name: 'other',
    });
    const [error] = await errorsOf(update(organisation, connection.id, { name: null }));
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'name'] }],
    });
  });

  it('keeps the version when nothing changes', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    for (const input of [
      {},
      { name: connection.name },
      { credentials: { instanceUrl: fixture.upstream.origin } },
    ]) {
      expect(await update(organisation, connection.id, input)).toMatchObject({
        version: 1,
        updatedAt: connection.updatedAt,
      });
    }
  });

  it('replaces the token when Okta accepts the new one', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const changed = await update(organisation, connection.id, {
      credentials: { apiToken: 'the-second-token' },
    });
    expect(changed).toMatchObject({ version: 2, verification: { status: 'VERIFIED' } });
    expect(changed.credentialsHash).not.toBe(connection.credentialsHash);
    expect(lastAuthorization(fixture.upstream)).toBe('SSWS the-second-token');
    await organisation.client.request(verifyMutation, { id: connection.id });
    expect(lastAuthorization(fixture.upstream)).toBe('SSWS the-second-token');
  });

  it.each([
    ['rejects', tokenRejected, 'CREDENTIALS_REJECTED'],
    ['reports missing permissions of', insufficientRole, 'INSUFFICIENT_PERMISSIONS'],
    ['does not answer for', slowHeaders, 'UPSTREAM_UNREACHABLE'],
  ])('keeps the old token when Okta %s the new one', async (_, behaviour, code) => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    fixture.upstream.behave(behaviour);
    const [error] = await errorsOf(
      update(organisation, connection.id, {
        name: 'not-this-either',
        credentials: { apiToken: 'the-second-token' },
      }),
    );
    expect(error?.extensions.code).toBe(code);
    expect(await read(organisation, connection.id)).toEqual(connection);
    await organisation.client.request(verifyMutation, { id: connection.id });
    expect(lastAuthorization(fixture.upstream)).toBe('SSWS the-first-token');
  });

  it('never sends the stored token to a new host', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const [error] = await errorsOf(
      update(organisation, connection.id, { credentials: { instanceUrl: fixture.elsewhere.origin } }),
    );
    expect(error?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      issues: [{ path: ['input', 'credentials', 'apiToken'] }],
    });
    expect(fixture.elsewhere.requests).toHaveLength(0);
    const moved = await update(organisation, connection.id, {
      credentials: { instanceUrl: fixture.elsewhere.origin, apiToken: 'for-elsewhere' },
    });
    expect(moved.credentials.instanceUrl).toBe(fixture.elsewhere.origin);
    expect(fixture.elsewhere.requests.map(({ headers }) => headers.authorization)).toContain(
      'SSWS for-elsewhere',
    );
    expect(JSON.stringify(fixture.elsewhere.requests)).not.toContain('the-first-token');
    await organisation.client.request(verifyMutation, { id: connection.id });
    expect(lastAuthorization(fixture.elsewhere)).toBe('SSWS for-elsewhere');
  });

  it('requires allowDifferentOktaOrg to move to another or unknown Okta organisation', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const credentials = { instanceUrl: fixture.elsewhere.origin, apiToken: 'for-elsewhere' };
    for (const body of ['{"id":"00oANOTHER"}', 'not json', '{}']) {
      fixture.elsewhere.behave((request, response) => {
        if (request.url?.startsWith('/.well-known')) response.end(body);
        else response.end('{"id":"00u1"}');
      });
      const [error] = await errorsOf(update(organisation, connection.id, { credentials }));
      expect(error?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        issues: [{ path: ['input', 'allowDifferentOktaOrg'] }],
      });
      expect(lastAuthorization(fixture.elsewhere)).toBeUndefined();
    }
    fixture.elsewhere.behave((request, response) => {
      const id = request.url?.startsWith('/.well-known') ? '00oANOTHER' : '00u1';
      response.end(JSON.stringify({ id }));
    });
    const moved = await update(organisation, connection.id, { credentials, allowDifferentOktaOrg: true });
    expect(moved).toMatchObject({ version: 2, credentials: { instanceUrl: fixture.elsewhere.origin } });
  });

  it('fails with VERSION_CONFLICT and the current version when the version is stale', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    await update(organisation, connection.id, { version: 1, name: 'first' });
    const requestCount = fixture.upstream.requests.length;
    const [error] = await errorsOf(
      update(organisation, connection.id, {
        version: 1,
        name: 'second',
        credentials: { apiToken: 'another-token' },
      }),
    );
    expect(error?.extensions).toMatchObject({ code: 'VERSION_CONFLICT', currentVersion: 2 });
    expect(fixture.upstream.requests).toHaveLength(requestCount);
    expect(await update(organisation, connection.id, { version: 2, name: 'second' })).toMatchObject({
      version: 3,
    });
  });

  it('increments the version by one for each of 50 concurrent updates', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const changed = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        update(organisation, connection.id, { description: `Change ${i}` }),
      ),
    );
    expect(changed.map(({ version }) => version).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 50 }, (_, i) => i + 2),
    );
  });

  it('applies one of 50 concurrent updates with the same version and rejects the others', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connection = await create(organisation);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, (_, i) =>
        update(organisation, connection.id, { version: 1, description: `Change ${i}` }),
      ),
    );
    const refused = outcomes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    expect(refused).toHaveLength(49);
    for (const { response } of refused) expect(response.errors[0].extensions.code).toBe('VERSION_CONFLICT');
    expect(await read(organisation, connection.id)).toMatchObject({ version: 2 });
  });

  it('fails with NAME_TAKEN for a name in use, also under concurrency', async () => {
    const organisation = await fixture.server.newOrganisation();
    const connections = await Promise.all(
      ['one', 'two', 'three', 'four'].map((name) => create(organisation, { name })),
    );
    const [error] = await errorsOf(update(organisation, connections[0]?.id ?? '', { name: 'two' }));
    expect(error?.extensions).toMatchObject({ code: 'NAME_TAKEN', issues: [{ path: ['input', 'name'] }] });
    const outcomes = await Promise.allSettled(
      connections.map(({ id }) => update(organisation, id, { name: 'wanted' })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of outcomes) {
      if (each.status === 'rejected')
        expect(each.reason.response.errors[0].extensions.code).toBe('NAME_TAKEN');
    }
  });

  it("fails with NOT_FOUND for another organisation's connection and requires connections:write", async () => {
    const [mine, theirs] = [await fixture.server.newOrganisation(), await fixture.server.newOrganisation()];
    const connection = await create(theirs);
    const [notFound] = await errorsOf(update(mine, connection.id, { name: 'mine-now' }));
    expect(notFound?.extensions.code).toBe('NOT_FOUND');
    const reader = { ...theirs, client: fixture.server.clientFor(await theirs.newKey(['connections:read'])) };
    const [forbidden] = await errorsOf(update(reader, connection.id, { name: 'mine-now' }));
    expect(forbidden?.extensions.code).toBe('FORBIDDEN');
  });
});
