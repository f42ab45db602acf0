import { firstProjectId } from '../access/organisations.ts';

const document = `# Run one of these with the button above: the mutation first, then a query.
mutation CreateConnection($input: CreateOktaConnectionInput!) {
  createOktaConnection(input: $input) {
    appConnection {
      id
      name
      version
      credentials {
        instanceUrl
        ... on OktaCredentials {
          tokenOwner { id login status }
        }
      }
      verification { status checkedAt }
    }
  }
}

query Connections($projectId: UUID) {
  appConnections(projectId: $projectId, first: 20) {
    totalCount
    nodes { id name app method createdAt verification { status } }
    pageInfo { hasNextPage endCursor }
  }
}
`;

const variables = {
  projectId: firstProjectId,
  input: {
    name: 'my-okta-connection',
    projectId: firstProjectId,
    credentials: { instanceUrl: 'https://example.okta.com', apiToken: '<YOUR-API-TOKEN>' },
  },
};

/** What GraphiQL opens with: a mutation and a query that work as they are. */
export function graphiqlTabs(apiKey: string | undefined) {
  return [
    {
      query: document,
      variables: JSON.stringify(variables, null, 2),
      headers: JSON.stringify({ Authorization: `Bearer ${apiKey ?? '<your API key>'}` }, null, 2),
    },
  ];
}
