import { type GraphQLClient, gql } from 'graphql-request';

/** The fields that tests select. */
export interface ConnectionFields {
  id: string;
  name: string;
  description: string | null;
  app: string;
  method: string;
  orgId: string;
  projectId: string | null;
  version: number;
  createdAt: string;
  updatedAt: string;
  isPlatformManagedCredentials: boolean;
  credentialsHash: string;
  credentials: {
    instanceUrl: string;
    tokenOwner: { id: string; login: string | null; status: string | null } | null;
  };
  verification: {
    status: string;
    checkedAt: string;
    code: string | null;
    message: string | null;
    remedy: string | null;
    oktaRequestId: string | null;
  };
}

const connectionFields = gql`
  fragment ConnectionFields on AppConnection {
    id name description app method orgId projectId version createdAt updatedAt
    isPlatformManagedCredentials credentialsHash
    credentials { instanceUrl ... on OktaCredentials { tokenOwner { id login status } } }
    verification { status checkedAt code message remedy oktaRequestId }
  }
`;

export const createMutation = gql`
  mutation Create($input: CreateOktaConnectionInput!) {
    createOktaConnection(input: $input) { appConnection { ...ConnectionFields } }
  }
  ${connectionFields}
`;

export interface Created {
  createOktaConnection: { appConnection: ConnectionFields };
}

export const byIdQuery = gql`
  query ById($id: UUID!) { appConnection(id: $id) { ...ConnectionFields } }
  ${connectionFields}
`;

export const byNameQuery = gql`
  query ByName($name: String!, $projectId: UUID) {
    appConnectionByName(name: $name, projectId: $projectId) { ...ConnectionFields }
  }
  ${connectionFields}
`;

export const listQuery = gql`
  query List($projectId: UUID, $app: App, $first: Int, $after: String) {
    appConnections(projectId: $projectId, app: $app, first: $first, after: $after) {
      totalCount nodes { id name projectId } pageInfo { hasNextPage endCursor }
    }
  }
`;

export interface Listed {
  appConnections: {
    totalCount: number;
    nodes: { id: string; name: string; projectId: string | null }[];
    pageInfo: { hasNextPage: boolean; endCursor: string | null };
  };
}

export const updateMutation = gql`
  mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { version } }
  }
`;

export const presetMutation = gql`
  mutation ($id: UUID!, $preset: UsePolicyPreset!) {
    updateUsePolicy(connectionId: $id, input: { preset: $preset }) { usePolicy { version } }
  }
`;

export const verifyMutation = gql`
  mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { verification { status } } } }
`;

export const deleteMutation = gql`
  mutation ($id: UUID!, $purge: Boolean! = false) { deleteAppConnection(id: $id, purge: $purge) { id } }
`;

export const restoreMutation = gql`
  mutation ($id: UUID!) { restoreAppConnection(id: $id) { appConnection { id } } }
`;

/** Builds an input that the fake Okta accepts, with overrides. */
export function okta(differing: Record<string, unknown> = {}, credentials: Record<string, unknown> = {}) {
  return {
    input: {
      name: 'my-okta-connection',
      credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'a-good-token', ...credentials },
      ...differing,
    },
  };
}

/** Creates a connection and returns it; the overrides are those of `okta`. */
export async function createConnection(
  { client }: { client: GraphQLClient },
  ...overrides: Parameters<typeof okta>
): Promise<ConnectionFields> {
  const { createOktaConnection } = await client.request<Created>(createMutation, okta(...overrides));
  return createOktaConnection.appConnection;
}
