import { type GraphQLClient, gql } from 'graphql-request';
import { expect } from 'vitest';
import { verifyChain } from '../../src/audit/verify-chain.ts';
import { RowHistory } from '../../src/integrity/row-history.ts';
import type { TestServer } from './server.ts';

/** The selected fields of an API key. */
export interface KeyFields {
  id: string;
  name: string;
  scopes: string[];
  projectIds: string[] | null;
  connectionIds: string[] | null;
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
  lastUsedAt: string | null;
}

/** The selected fields of a project. */
export interface ProjectFields {
  id: string;
  name: string;
  createdAt: string;
}

/** The selected fields of an audit event. */
export interface EventFields {
  action: string;
  outcome: string;
  keyId: string | null;
  apiKeyId: string | null;
  projectId: string | null;
  targetName: string | null;
  changedFields: string[];
}

/** Every scope, by its name in GraphQL. */
export const everyScope = [
  'CONNECTIONS_READ',
  'CONNECTIONS_WRITE',
  'CONNECTIONS_VERIFY',
  'CONNECTIONS_USE',
  'WEBHOOKS_READ',
  'WEBHOOKS_WRITE',
  'AUDIT_READ',
  'ACCESS_ADMIN',
];

const keyFields = gql`
  fragment KeyFields on ApiKey {
    id name scopes projectIds connectionIds createdAt expiresAt revokedAt lastUsedAt
  }
`;

export const createKeyMutation = gql`
  mutation CreateKey($input: CreateApiKeyInput!) {
    createApiKey(input: $input) { key apiKey { ...KeyFields } }
  }
  ${keyFields}
`;

/** Creates an API key, with every scope by default. */
export async function createKey(
  client: GraphQLClient,
  differing: Record<string, unknown> = {},
): Promise<{ key: string; apiKey: KeyFields }> {
  const input = { name: 'Another', scopes: everyScope, ...differing };
  const made = await client.request<{ createApiKey: { key: string; apiKey: KeyFields } }>(createKeyMutation, {
    input,
  });
  return made.createApiKey;
}

export const revokeKeyMutation = gql`
  mutation RevokeKey($id: UUID!) { revokeApiKey(id: $id) { apiKey { ...KeyFields } } }
  ${keyFields}
`;

export async function revokeKey(client: GraphQLClient, id: string): Promise<KeyFields> {
  const revoked = await client.request<{ revokeApiKey: { apiKey: KeyFields } }>(revokeKeyMutation, { id });
  return revoked.revokeApiKey.apiKey;
}

export const keysQuery = gql`
  query Keys($first: Int! = 100, $after: String, $includeRevoked: Boolean! = false) {
    page: apiKeys(first: $first, after: $after, includeRevoked: $includeRevoked) {
      nodes { ...KeyFields } pageInfo { hasNextPage endCursor }
    }
  }
  ${keyFields}
`;

/** The keys of an organisation, up to 100. */
export async function keysOf(client: GraphQLClient, includeRevoked = false): Promise<KeyFields[]> {
  return (await client.request<Paged<KeyFields>>(keysQuery, { includeRevoked })).page.nodes;
}

export const projectsQuery = gql`
  query Projects($first: Int! = 100, $after: String) {
    page: projects(first: $first, after: $after) {
      nodes { id name createdAt } pageInfo { hasNextPage endCursor }
    }
  }
`;

/** The projects of an organisation, up to 100. */
export async function listProjects(client: GraphQLClient): Promise<ProjectFields[]> {
  return (await client.request<Paged<ProjectFields>>(projectsQuery)).page.nodes;
}

/** A page of a list. */
export interface Paged<T> {
  page: { nodes: T[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } };
}

/** Every page of a list, from the first to the one that says that it is the last. */
export async function listAllPages<T>(
  client: GraphQLClient,
  query: string,
  variables: { first: number; includeRevoked?: boolean },
): Promise<T[][]> {
  const pages: T[][] = [];
  for (let after: string | null = null, isMore = true; isMore; ) {
    const { page }: Paged<T> = await client.request<Paged<T>>(query, { ...variables, after });
    pages.push(page.nodes);
    after = page.pageInfo.endCursor;
    isMore = page.pageInfo.hasNextPage;
  }
  return pages;
}

export const viewerQuery = gql`
  query Viewer {
    viewer {
      organisation { id name } subject scopes expiresAt projects { id name } apiKey { ...KeyFields }
    }
  }
  ${keyFields}
`;

/** The caller of a request. */
export interface Viewer {
  organisation: { id: string; name: string };
  subject: string | null;
  scopes: string[];
  expiresAt: string | null;
  projects: { id: string; name: string }[] | null;
  apiKey: KeyFields | null;
}

export async function viewerOf(client: GraphQLClient): Promise<Viewer> {
  return (await client.request<{ viewer: Viewer }>(viewerQuery)).viewer;
}

const eventsQuery = gql`
  query Events {
    auditEvents(first: 100) {
      nodes { action outcome keyId apiKeyId projectId targetName changedFields }
    }
  }
`;

/** The last 100 events of an organisation, the oldest first. */
export async function listAuditEvents(client: GraphQLClient): Promise<EventFields[]> {
  const { auditEvents } = await client.request<{ auditEvents: { nodes: EventFields[] } }>(eventsQuery);
  return auditEvents.nodes.reverse();
}

/** Verifies the hash chain of an organisation. */
export function checkChain(server: TestServer, orgId: string) {
  return verifyChain(() => server.database.forOrganisation(orgId), server.vault, orgId);
}

/** The row errors that `npm run audit:verify` reports for an organisation, except for invalid MACs. */
export async function listContradictions({ database, vault }: TestServer, orgId: string): Promise<string[]> {
  const history = new RowHistory();
  const onEvent = history.add.bind(history);
  const chain = await verifyChain(() => database.forOrganisation(orgId), vault, orgId, { onEvent });
  expect(chain).toHaveProperty('events');
  const found: string[] = [];
  for await (const line of history.contradictions(database, orgId)) found.push(line);
  return found;
}
