import { createHash } from 'node:crypto';
import type { Plugin } from 'graphql-yoga';
import { firstProjectId } from '../identity/organisations.ts';
import { signInMarkup, signInScript } from './graphiql-sign-in.ts';

const document = `# The pink button runs one of these two operations.
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
 * GraphiQL stores everything that is typed into it, including tokens, in localStorage, and the document in the URL. This
 * script replaces localStorage by memory, and turns `history.replaceState` off.
 */
const memoryStorageScript = `
  (() => {
    const items = new Map();
    const memory = {
      getItem: (key) => items.get(String(key)) ?? null,
      setItem: (key, value) => void items.set(String(key), String(value)),
      removeItem: (key) => void items.delete(String(key)),
      clear: () => items.clear(),
      key: (index) => [...items.keys()][index] ?? null,
      get length() { return items.size; },
    };
    Object.defineProperty(window, 'localStorage', { value: memory });
    history.replaceState = () => {};
  })();`;

/** GraphiQL's page and its Content-Security-Policy. */
interface Page {
  html: string;
  /** The value of `Content-Security-Policy`. */
  policy: string;
}

let page: Promise<Page> | undefined;

/** Serves GraphiQL to browsers. It opens with a mutation and a query that can be run at once. */
export function useGraphiQL(): Plugin {
  return {
    async onRequest({ request: { method, headers }, endResponse, fetchAPI }) {
      if (method !== 'GET' || !headers.get('accept')?.includes('text/html')) return;
      page ??= render();
      const { html, policy } = await page;
      endResponse(
        new fetchAPI.Response(html, {
          headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy },
        }),
      );
    },
  };
}

async function render(): Promise<Page> {
  // Imported on first use, because its scripts are several megabytes of text.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const options = {
    title: 'App Connections',
    query: document,
    variables: JSON.stringify(variables, null, 2),
    // Keeps credentials in the Headers tab out of the browser's storage.
    shouldPersistHeaders: false,
  } as const;
  const rendered = renderGraphiQL(options);
  // The library renders at once; here, rendering has to wait for the API key.
  const start = rendered.lastIndexOf('YogaGraphiQL.renderYogaGraphiQL(');
  if (start < 0)
    throw new Error('The page of @graphql-yoga/render-graphiql has changed; adapt the rendering to it.');
  const html = `${rendered.slice(0, start)}startGraphiQL(${JSON.stringify(options)});</script></body></html>`
    .replace('<head>', () => `<head><script>${signInScript}${memoryStorageScript}</script>`)
    .replace('<div id="root">', () => `${signInMarkup}<div id="root">`);
  return { html, policy: contentSecurityPolicy(html) };
}

/** Allows only the scripts of the page, by their hashes, and connections only to this server. */
function contentSecurityPolicy(html: string): string {
  const scripts = [...html.matchAll(/<script>(.*?)<\/script>/gs)].map(
    ([, script = '']) => `'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  );
  return [
    "default-src 'none'",
    `script-src ${scripts.join(' ')}`,
    // The editor adds style elements at run time.
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
