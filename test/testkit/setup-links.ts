import { type GraphQLClient, gql } from 'graphql-request';
import { type RestResponse, restClient } from './rest.ts';

/** The selected fields of a setup link. */
export interface SetupLinkFields {
  id: string;
  connectionId: string;
  status: string;
  createdAt: string;
  expiresAt: string;
  openedAt: string | null;
  finishedAt: string | null;
  revokedAt: string | null;
}

const fields = 'id connectionId status createdAt expiresAt openedAt finishedAt revokedAt';

export const createLinkMutation = gql`
  mutation CreateLink($connectionId: UUID!, $expiresIn: Int! = 259200) {
    created: createConnectionSetupLink(connectionId: $connectionId, expiresIn: $expiresIn) {
      setupLink { ${fields} }
      url
    }
  }
`;

/** Creates a setup link, and returns it with its address and the secret in it. */
export async function createLink(
  client: GraphQLClient,
  connectionId: string,
): Promise<SetupLinkFields & { url: string; secret: string }> {
  const { created } = await client.request<{ created: { setupLink: SetupLinkFields; url: string } }>(
    createLinkMutation,
    { connectionId },
  );
  return { ...created.setupLink, url: created.url, secret: new URL(created.url).hash.slice(1) };
}

/** The setup links of a connection, newest first. */
export async function listLinks(client: GraphQLClient, connectionId: string): Promise<SetupLinkFields[]> {
  const query = `query ($connectionId: UUID!) { links: connectionSetupLinks(connectionId: $connectionId) { ${fields} } }`;
  return (await client.request<{ links: SetupLinkFields[] }>(query, { connectionId })).links;
}

/** Revokes a setup link. */
export async function revokeLink(client: GraphQLClient, id: string): Promise<SetupLinkFields> {
  const mutation = `mutation ($id: UUID!) { revoked: revokeConnectionSetupLink(id: $id) { setupLink { ${fields} } } }`;
  return (await client.request<{ revoked: { setupLink: SetupLinkFields } }>(mutation, { id })).revoked
    .setupLink;
}

/** What the page of a setup link sends. */
export function followLink(url: string, secret: string, signal?: AbortSignal) {
  const client = restClient(url, secret, signal);
  return {
    open: (): Promise<RestResponse> => client('POST', '/api/v1/setup/open'),
    check: (): Promise<RestResponse> => client('POST', '/api/v1/setup/check'),
    submit: (credentials: object): Promise<RestResponse> =>
      client('POST', '/api/v1/setup/credentials', { credentials }),
  };
}
