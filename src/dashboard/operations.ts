import type { FragmentOf } from 'gql.tada';
import { graphql } from './graphql.ts';

/** Shared with the operations of screens that are loaded later. */
export const connectionFields = graphql(`
  fragment Connection on AppConnection @_unmask {
    id
    name
    description
    tags { key value }
    owner { name email }
    app
    method
    projectId
    version
    updatedAt
    isPlatformManagedCredentials
    checkEvery
    credentials {
      instanceUrl
      ... on OktaCredentials {
        tokenOwner { id login status }
      }
      ... on OktaServiceAppCredentials {
        clientId
        scopes
      }
    }
    verification {
      status
      checkedAt
      failingSince
      message
      remedy
      oktaRequestId
    }
    health {
      status
      since
      expiresAt
      expiryReason
      hostCertificate { validTo }
    }
  }
`);

/** The fields of a connection that the dashboard shows. */
export type Connection = FragmentOf<typeof connectionFields>;

/** The signed-in caller and its permissions. */
export const viewerQuery = graphql(`
  query Viewer {
    viewer {
      organisation { name }
      scopes
      projects { id }
    }
  }
`);

export const projectsQuery = graphql(`
  query Projects($after: String) {
    projects(first: 100, after: $after) {
      nodes { id name }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

/** The apps, methods and fields from which forms are generated. */
export const optionsQuery = graphql(`
  query Options {
    appConnectionOptions {
      app
      name
      description
      icon
      methods {
        method
        label
        description
        steps
        fields { name label kind required secret placeholder help whereToFind }
      }
    }
  }
`);

/** Lists connections; `projectId: null` lists those without a project. */
export const listQuery = graphql(
  `
    query Connections(
      $projectId: UUID
      $filter: AppConnectionFilter
      $orderBy: AppConnectionOrder
      $first: Int
      $after: String
      $last: Int
      $before: String
    ) {
      appConnections(
        projectId: $projectId
        filter: $filter
        orderBy: $orderBy
        first: $first
        after: $after
        last: $last
        before: $before
      ) {
        totalCount
        nodes { ...Connection }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      }
    }
  `,
  [connectionFields],
);

export const changesSubscription = graphql(`
  subscription Changes($projectId: UUID, $after: String) {
    appConnectionChanged(projectId: $projectId, after: $after) {
      eventId
      kind
      connectionId
    }
  }
`);

/** Written for Okta, so that it is checked against the schema; `buildCreateMutation` adapts it to other apps. */
export const createMutation = graphql(
  `
    mutation Create($input: CreateOktaConnectionInput!) {
      outcome: createOktaConnection(input: $input) {
        appConnection { ...Connection }
      }
    }
  `,
  [connectionFields],
);

/** Written for Okta, like `createMutation`. */
export const updateMutation = graphql(
  `
    mutation Update($id: UUID!, $input: UpdateOktaConnectionInput!) {
      outcome: updateOktaConnection(id: $id, input: $input) {
        appConnection { ...Connection }
      }
    }
  `,
  [connectionFields],
);

export const verifyMutation = graphql(
  `
    mutation Verify($id: UUID!) {
      outcome: verifyAppConnection(id: $id) {
        appConnection { ...Connection }
      }
    }
  `,
  [connectionFields],
);

export const deleteMutation = graphql(`
  mutation Delete($id: UUID!, $version: Int, $acknowledgeUse: Boolean) {
    outcome: deleteAppConnection(id: $id, version: $version, acknowledgeUse: $acknowledgeUse) {
      restorableUntil
    }
  }
`);

export const restoreMutation = graphql(
  `
    mutation Restore($id: UUID!, $name: String) {
      outcome: restoreAppConnection(id: $id, name: $name) {
        appConnection { ...Connection }
      }
    }
  `,
  [connectionFields],
);

export const auditQuery = graphql(`
  query Audit($filter: AuditEventFilter, $after: String) {
    auditEvents(filter: $filter, first: 20, after: $after) {
      nodes { seq at action outcome keyId subject setupLinkId address targetName changedFields use { method path queryParameters status } }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

/** Who has used a connection in the last 90 days. */
export const usersQuery = graphql(`
  query Users($id: UUID!) {
    appConnection(id: $id) {
      usedBy {
        caller { keyId name subject }
        label
        calls
        lastUsedAt
      }
    }
  }
`);
