import { firstProjectId } from '../access/organisations.ts';

const document = `# The pink button runs either of these two.
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
    method: 'API_TOKEN',
    credentials: { instanceUrl: 'https://example.okta.com', apiToken: '<YOUR-API-TOKEN>' },
    onUnreachable: 'FAIL',
  },
};

/** GraphiQL's page, opening with a mutation and a query that work as they are. */
export async function renderGraphiQLPage(apiKey: string | undefined): Promise<string> {
  // Loaded when first looked at: its scripts are several megabytes of text.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const options = {
    title: 'App Connections',
    query: document,
    variables: JSON.stringify(variables, null, 2),
    headers: JSON.stringify({ Authorization: `Bearer ${apiKey ?? '<your API key>'}` }, null, 2),
    defaultEditorToolsVisibility: 'variables',
    // The API key stays out of the browser's storage.
    shouldPersistHeaders: false,
  } as const;
  return renderGraphiQL(options);
}
