import { createHash } from 'node:crypto';
import type { Plugin } from 'graphql-yoga';
import { firstProjectId } from '../access/organisations.ts';
import { isFromElsewhere } from '../http/own-name.ts';

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

/** GraphiQL's page, and what it may do in a browser. */
interface Page {
  html: string;
  /** As `Content-Security-Policy` has it. */
  policy: string;
}

const pages = new Map<string | undefined, Promise<Page>>();

/**
 * Answers browsers with GraphiQL, opening with a mutation and a query that work as they are, and with this key if
 * there is one: in the headers pane, unless the request came through a proxy, behind which anybody may be, or from a
 * script of a page elsewhere, which may read answers but is not to have the key.
 */
export function useGraphiQL({ apiKey }: { apiKey?: string }): Plugin {
  return {
    async onRequest({ request: { method, headers }, endResponse, fetchAPI }) {
      if (method !== 'GET' || !headers.get('accept')?.includes('text/html')) return;
      const { html, policy } = await graphiqlPage(
        isFromElsewhere(Object.fromEntries(headers)) ? undefined : apiKey,
      );
      endResponse(
        new fetchAPI.Response(html, {
          headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy },
        }),
      );
    },
  };
}

function graphiqlPage(apiKey: string | undefined): Promise<Page> {
  const known = pages.get(apiKey);
  if (known) return known;
  const page = render(apiKey);
  pages.set(apiKey, page);
  return page;
}

async function render(apiKey: string | undefined): Promise<Page> {
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
  const html = renderGraphiQL(options).replace('<head>', () => `<head>${forgetful}`);
  return { html, policy: policyOf(html) };
}

/**
 * The page runs its own scripts, known by their hashes, and theirs alone; it talks to this server and to nobody else.
 */
function policyOf(html: string): string {
  const scripts = [...html.matchAll(/<script>(.*?)<\/script>/gs)].map(
    ([, script = '']) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  );
  return [
    "default-src 'none'",
    `script-src ${scripts.join(' ')}`,
    // Made by its editor as it goes along.
    "style-src 'unsafe-inline'",
    'worker-src blob:',
    'font-src data:',
    'img-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
