import { createHash } from 'node:crypto';
import type { Plugin } from 'graphql-yoga';
import { firstProjectId } from '../identity/organisations.ts';
import { signInMarkup, signInScript } from './graphiql-sign-in.ts';

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
const forgetful = `
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
  })();`;

/** GraphiQL's page, and what it may do in a browser. */
interface Page {
  html: string;
  /** As `Content-Security-Policy` has it. */
  policy: string;
}

let page: Promise<Page> | undefined;

/** Answers browsers with GraphiQL, which opens with a mutation and a query that work as they are. */
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
  // Loaded when first looked at: its scripts are several megabytes of text.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  const options = {
    title: 'App Connections',
    query: document,
    variables: JSON.stringify(variables, null, 2),
    // What somebody writes under Headers stays out of the browser's storage.
    shouldPersistHeaders: false,
  } as const;
  const rendered = renderGraphiQL(options);
  // The library renders at once; ours has to have a key first.
  const start = rendered.lastIndexOf('YogaGraphiQL.renderYogaGraphiQL(');
  if (start < 0)
    throw new Error('The page of @graphql-yoga/render-graphiql is not as this version of ours expects it.');
  const html = `${rendered.slice(0, start)}startGraphiQL(${JSON.stringify(options)});</script></body></html>`
    .replace('<head>', () => `<head><script>${signInScript}${forgetful}</script>`)
    .replace('<div id="root">', () => `${signInMarkup}<div id="root">`);
  return { html, policy: contentSecurityPolicy(html) };
}

/**
 * The page runs its own scripts, known by their hashes, and theirs alone; it talks to this server and to nobody else.
 */
function contentSecurityPolicy(html: string): string {
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
