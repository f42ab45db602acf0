/** The input types of a create, for all peers. */
export const inputs = /* GraphQL */ `
  input OktaCredentialsInput { instanceUrl: String! apiToken: String! }
  input CreateOktaConnectionInput {
    name: String!
    description: String
    projectId: UUID
    credentials: OktaCredentialsInput!
  }
`;

/** The schema of peers that need one: the measured part of the product's schema. */
export const typeDefs = /* GraphQL */ `
  scalar UUID
  scalar DateTime
  enum App { OKTA }
  enum AppConnectionMethod { API_TOKEN }
  enum VerificationStatus { VERIFIED REJECTED UNREACHABLE }
  type AppConnectionCredentials { instanceUrl: String }
  type ConnectionVerification { status: VerificationStatus! checkedAt: DateTime }
  type AppConnection {
    id: UUID!
    name: String!
    description: String
    app: App!
    method: AppConnectionMethod!
    orgId: UUID!
    projectId: UUID
    version: Int!
    createdAt: DateTime!
    updatedAt: DateTime!
    credentialsHash: String!
    credentials: AppConnectionCredentials!
    verification: ConnectionVerification!
  }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  type AppConnectionPage { nodes: [AppConnection!]! pageInfo: PageInfo! }
  type Query {
    appConnection(id: UUID!): AppConnection
    appConnections(first: Int! = 20): AppConnectionPage!
  }
  ${inputs}
  type CreateOktaConnectionPayload { appConnection: AppConnection! }
  type Mutation {
    createOktaConnection(input: CreateOktaConnectionInput!): CreateOktaConnectionPayload
  }
`;

/** The caller of a request. */
export interface Context {
  orgId: string;
}

/** Parses the size of a page. */
export const maxPage = 100;
