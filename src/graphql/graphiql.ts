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

/**
 * GraphiQL keeps what is typed into it, tokens included, in the browser's storage, and the document in its address.
 * Here both last as long as the page.
 */
const forgetful = `<script>
  (() => {
    const kept = new Map();
    const memory = {
      getItem: (key) => kept.get(String(key)) ?? null,
      setItem: (key, value) => void kept.set(String(key), String(value)),
      removeItem: (key) => void kept.delete(String(key)),
      clear: () => kept.clear(),
      key: (index) => [...kept.keys()][index] ?? null,
      get length() { return kept.size; },
    };
    Object.defineProperty(window, 'localStorage', { value: memory });
    history.replaceState = () => {};
  })();
</script>`;

const pages = new Map<string | undefined, Promise<string>>();

/** GraphiQL's page, opening with a mutation and a query that work as they are, and with this key if there is one. */
export function graphiqlPage(apiKey: string | undefined): Promise<string> {
  const known = pages.get(apiKey);
  if (known) return known;
  const page = render(apiKey);
  pages.set(apiKey, page);
  return page;
}

async function render(apiKey: string | undefined): Promise<string> {
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
  return renderGraphiQL(options).replace('<head>', () => `<head>${forgetful}`);
}
