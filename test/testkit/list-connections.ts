import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import type { TestOrganisation, TestServer } from './server.ts';

const findQuery = gql`
  query Find(
    $projectId: UUID, $app: App, $filter: AppConnectionFilter, $orderBy: AppConnectionOrder,
    $first: Int, $after: String, $last: Int, $before: String
  ) {
    appConnections(
      projectId: $projectId, app: $app, filter: $filter, orderBy: $orderBy,
      first: $first, after: $after, last: $last, before: $before
    ) {
      totalCount nodes { id name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
`;

/** A page of connections. */
export interface Page {
  totalCount: number;
  nodes: { id: string; name: string }[];
  pageInfo: {
    hasNextPage: boolean;
    hasPreviousPage: boolean;
    startCursor: string | null;
    endCursor: string | null;
  };
}

/** Requests a page. */
export async function listConnections(
  { client }: TestOrganisation,
  variables: Record<string, unknown> = {},
): Promise<Page> {
  return (await client.request<{ appConnections: Page }>(findQuery, variables)).appConnections;
}

export const toNames = ({ nodes }: Page) => nodes.map(({ name }) => name);

/** Midnight at the start of a day of January. */
export const day = (d: number) => new Date(Date.UTC(2026, 0, d)).toISOString();

/** The columns of a connection that filters and orders use. */
export interface ConnectionRow {
  id: string;
  name: string;
  projectId: string | null;
  app: string;
  method: string;
  status: string;
  createdAt: string;
  updatedAt: string;
}

/** Builds a row with defaults for all other columns. */
export function buildRow(differing: Partial<ConnectionRow> & { name: string }): ConnectionRow {
  const createdAt = differing.createdAt ?? day(1);
  return {
    id: randomUUID(),
    projectId: null,
    app: 'okta',
    method: 'api-token',
    status: 'VERIFIED',
    createdAt,
    updatedAt: createdAt,
    ...differing,
  };
}

/** Inserts connections into the database, with timestamps that no request could set. */
export async function insertRows(
  server: TestServer,
  { orgId }: TestOrganisation,
  rows: readonly ConnectionRow[],
): Promise<void> {
  await server.asOwner().execute(
    `insert into app_connection (
      id, org_id, project_id, name, app, method, created_at, updated_at, is_platform_managed_credentials,
      credentials_hash, public_credentials, sealed_credentials, data_key_id, verification_status, verification_checked_at, mac
    )
    select
      r.id, k.org_id, r."projectId", r.name, r.app, r.method, r."createdAt", r."updatedAt", false,
      '', '{"instanceUrl":"https://example.okta.com"}', '', k.id, r.status, r."createdAt", 'none, as they are only read'
    from (select id, org_id from data_key where org_id = ? limit 1) k, jsonb_to_recordset(?::jsonb) as r (
      id uuid, name text, "projectId" uuid, app text, method text, status text,
      "createdAt" timestamptz, "updatedAt" timestamptz
    )`,
    [orgId, JSON.stringify(rows)],
  );
}

/** Creates an organisation with these connections; its project replaces every project id in them. */
export async function createOrganisationWith(
  server: TestServer,
  rows: readonly ConnectionRow[],
): Promise<TestOrganisation & { rows: readonly ConnectionRow[] }> {
  const organisation = await server.newOrganisation();
  const { projectId } = organisation;
  const mine = rows.map((each) => ({ ...each, id: randomUUID(), projectId: each.projectId && projectId }));
  await insertRows(server, organisation, mine);
  return { ...organisation, rows: mine };
}
