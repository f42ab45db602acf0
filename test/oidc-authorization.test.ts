import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { decodeJwt } from 'jose';
import { describe, expect, test } from 'vitest';
import { scopes } from '../src/identity/caller.ts';
import { useServerWithOidc } from './testkit/oidc-server.ts';
import { type Created, createMutation, type Listed, listQuery, okta } from './testkit/operations.ts';
import { at, createCheckedClient, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer } from './testkit/server.ts';

const oidc = useServerWithOidc();

const everyScope = scopes.join(' ');

const viewerQuery = gql`
  { viewer { organisation { id } subject scopes projects { id } apiKey { id } expiresAt } }
`;

test('returns the subject and the expiry as viewer of a token, without an API key', async () => {
  const { orgId, projectId } = await oidc.server.newOrganisation();
  const token = await oidc.provider.issue('robot-1', 'connections:read email', {
    org: orgId,
    projects: [projectId],
  });
  expect(await oidc.server.clientFor(token).request(viewerQuery)).toEqual({
    viewer: {
      organisation: { id: orgId },
      subject: 'robot-1',
      scopes: ['CONNECTIONS_READ'],
      projects: [{ id: projectId }],
      apiKey: null,
      expiresAt: new Date(Number(decodeJwt(token).exp) * 1_000).toISOString(),
    },
  });
});

test('reads the claims under configured names', async () => {
  const settings = oidc.provider.settings({
    OIDC_ORG_CLAIM: 'https://app-connections.example/organisation',
    OIDC_SCOPE_CLAIM: 'permissions',
    OIDC_PROJECTS_CLAIM: 'workspaces',
  });
  const renaming = await startTestServer({ config: settings });
  const { orgId, projectId } = await renaming.newOrganisation();
  const token = await oidc.provider.issue('robot-2', 'access:admin', {
    'https://app-connections.example/organisation': orgId,
    permissions: ['audit:read'],
    workspaces: projectId,
    org: randomUUID(),
    projects: 'not-read',
  });
  expect(await renaming.clientFor(token).request(viewerQuery)).toMatchObject({
    viewer: { organisation: { id: orgId }, scopes: ['AUDIT_READ'], projects: [{ id: projectId }] },
  });
  await renaming.close();
});

describe('OIDC token that is limited to projects', () => {
  test.each([
    ['an array', (ids: string[]) => ids],
    ['a string in upper case', (ids: string[]) => ids.join(' ').toUpperCase()],
  ])('sees and creates only in these projects: %s', async (_, written) => {
    const organisation = await oidc.server.newOrganisation();
    const { orgId: org, projectId } = organisation;
    const another = await organisation.newProject('Another');
    const admin = restClient(oidc.server.url, organisation.apiKey);
    const [mine, theirs, ofNone] = [
      await createConnectionOverRest(admin, { projectId, name: 'mine' }),
      await createConnectionOverRest(admin, { projectId: another, name: 'theirs' }),
      await createConnectionOverRest(admin, { name: 'of-none' }),
    ];
    const elsewhere = (await oidc.server.newOrganisation()).projectId;
    const token = await oidc.provider.issue('limited', everyScope, {
      org,
      projects: written([projectId, elsewhere]),
    });
    const rest = await createCheckedClient(oidc.server.url, token);
    const { body } = await rest('GET', '/api/v1/app-connections');
    expect(at(body, 'appConnections')).toMatchObject([{ id: mine.id }]);
    expect(at(body, 'appConnections', 'length')).toBe(1);
    for (const { id } of [theirs, ofNone]) {
      expect((await rest('GET', `/api/v1/app-connections/okta/${id}`)).status).toBe(404);
    }
    const client = oidc.server.clientFor(token);
    for (const projectId of [another, elsewhere, null]) {
      const [error] = await errorsOf(client.request(createMutation, okta({ name: 'new', projectId })));
      expect(error?.extensions.code).toBe(projectId === elsewhere ? 'NOT_FOUND' : 'FORBIDDEN');
    }
    await client.request(createMutation, okta({ name: 'new', projectId }));
  });

  test.each([[[]], [''], [' ']])('sees nothing when it has no project: %j', async (projects) => {
    const organisation = await oidc.server.newOrganisation();
    const { orgId: org, projectId } = organisation;
    await organisation.client.request(createMutation, okta({ projectId }));
    await organisation.client.request(createMutation, okta());
    const client = oidc.server.clientFor(await oidc.provider.forge({ org, scope: everyScope, projects }));
    expect((await client.request<Listed>(listQuery)).appConnections.totalCount).toBe(0);
    const [error] = await errorsOf(client.request(createMutation, okta({ name: 'new' })));
    expect(error?.extensions.code).toBe('FORBIDDEN');
  });
});

test('creates an API key that outlives the token, with at most the scopes of the token', async () => {
  const { orgId: org } = await oidc.server.newOrganisation();
  const token = await oidc.provider.issue('administrator', 'access:admin audit:read', { org });
  const make = gql`mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { expiresAt } } }`;
  const client = oidc.server.clientFor(token);
  expect(await client.request(make, { input: { name: 'lasting', scopes: ['AUDIT_READ'] } })).toEqual({
    createApiKey: { apiKey: { expiresAt: null } },
  });
  const [error] = await errorsOf(
    client.request(make, { input: { name: 'wider', scopes: ['CONNECTIONS_READ'] } }),
  );
  expect(error?.extensions.code).toBe('FORBIDDEN');
});

test('separates idempotency keys of two subjects, and of API keys', async () => {
  const { orgId: org, client } = await oidc.server.newOrganisation();
  const asks = (from: typeof client) =>
    from.request<Created>(createMutation, okta({ idempotencyKey: 'the-same-for-all' }));
  const clientForSubject = async (sub: string) =>
    oidc.server.clientFor(await oidc.provider.issue(sub, 'connections:write', { org }));
  const first = await asks(await clientForSubject('robot-a'));
  // A new token of the same subject is the same caller.
  expect(await asks(await clientForSubject('robot-a'))).toEqual(first);
  for (const other of [await clientForSubject('robot-b'), client]) {
    const [error] = await errorsOf(asks(other));
    expect(error?.extensions.code).toBe('NAME_TAKEN');
  }
});
