import type { ResultOf } from 'gql.tada';
import { graphql } from '../graphql.ts';

export const setupLinksQuery = graphql(`
  query SetupLinks($connectionId: UUID!) {
    connectionSetupLinks(connectionId: $connectionId) { id status createdAt expiresAt openedAt }
  }
`);

/** A setup link of a connection. */
export type SetupLink = ResultOf<typeof setupLinksQuery>['connectionSetupLinks'][number];

export const createSetupLinkMutation = graphql(`
  mutation CreateSetupLink($connectionId: UUID!, $expiresIn: Int!) {
    outcome: createConnectionSetupLink(connectionId: $connectionId, expiresIn: $expiresIn) { url }
  }
`);

export const revokeSetupLinkMutation = graphql(`
  mutation RevokeSetupLink($id: UUID!) {
    outcome: revokeConnectionSetupLink(id: $id) { setupLink { id } }
  }
`);
