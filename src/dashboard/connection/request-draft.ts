import type { Method } from './operations.ts';

/** A request in the form. */
export interface RequestDraft {
  method: Method;
  /** As it was typed; may have a query, and names of parameters in braces from the list of requests. */
  path: string;
  /** As it was typed. */
  query: string;
  body: string;
}

/** A request as it is sent. */
export interface PreparedRequest {
  method: Method;
  path: string;
  query: string | null;
  body: string | null;
}

const readMethods: readonly Method[] = ['GET', 'HEAD', 'OPTIONS'];

/** Whether the method changes nothing in the app. */
export const isRead = (method: Method) => readMethods.includes(method);

/** Whether requests with the method have a body. */
export const hasBody = (method: Method) => method === 'POST' || method === 'PUT' || method === 'PATCH';

/** Encodes characters that a query cannot have, so that a filter can be typed as it is documented. */
const encodeQuery = (query: string) => query.replace(/[^\x21\x24-\x7e]/gu, encodeURIComponent);

/** The errors of the form, by field. The server has further rules. */
export function findDraftErrors({ method, path, body }: RequestDraft): { path?: string; body?: string } {
  const [parameter] = /\{\w+\}/.exec(path) ?? [];
  return {
    ...(!path.startsWith('/') && { path: 'The path must start with a slash, as in /api/v1/users.' }),
    ...(parameter && { path: `Replace ${parameter} with a value.` }),
    ...(hasBody(method) && !isJson(body) && { body: 'The body must be JSON.' }),
  };
}

/** Makes the request of a form. A query in the path is that of the request. */
export function prepareRequest({ method, path, query, body }: RequestDraft): PreparedRequest {
  const [plain = '', inPath] = path.trim().split(/\?(.*)/s);
  const all = [inPath, query.trim().replace(/^\?/, '')].filter(Boolean).join('&');
  return {
    method,
    path: plain,
    query: all === '' ? null : encodeQuery(all),
    body: hasBody(method) && body.trim() !== '' ? body : null,
  };
}

/** A curl command that sends the request through this server's proxy, with a placeholder for the API key. */
export function toCurl({ method, path, query, body }: PreparedRequest, proxyUrl: string): string {
  return [
    `curl ${method === 'HEAD' ? '--head' : `--request ${method}`} \\`,
    `  --header 'Authorization: Bearer <YOUR-API-KEY>' \\`,
    ...(body === null
      ? []
      : [`  --header 'Content-Type: application/json' \\`, `  --data-raw ${quote(body)} \\`]),
    `  ${quote(`${proxyUrl}${path}${query === null ? '' : `?${query}`}`)}`,
  ].join('\n');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function isJson(text: string): boolean {
  if (text.trim() === '') return true;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
