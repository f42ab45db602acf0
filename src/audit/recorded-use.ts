/** A write through a connection, as `targetName` of its event describes it. */
export interface RecordedUse {
  method: string;
  path: string;
  /** The names of the parameters of the query; `*` for a parameter without a value, which can be a secret. */
  queryParameters: string[];
  /** Null without a response. */
  status: number | null;
}

/** The longest description of a request. */
const maxRequestLength = 500;

/**
 * Describes a write: `POST /api/v1/users?activate 200`. Of the query, it has the names of the parameters only.
 *
 * @param query with its question mark; empty without a query
 * @param mask removes secrets
 */
export function formatUse(
  { method, path, query, status }: { method: string; path: string; query: string; status?: number },
  mask: (text: string) => string,
): string {
  const names = query.replace(/(^\?|&)([^&]*)/g, (_, start, parameter) => start + toName(parameter));
  const request = mask(`${method} ${path}${names}`).slice(0, maxRequestLength);
  return status === undefined ? request : `${request} ${status}`;
}

/** Parses a description by `formatUse`. Undefined for text that is none. */
export function parseUse(text: string): RecordedUse | undefined {
  const [, method, path, names, status] = /^([A-Z]+) ([^ ?]+)(?:\?([^ ]*))?(?: (\d{3}))?$/.exec(text) ?? [];
  if (method === undefined || path === undefined) return undefined;
  const queryParameters = names ? names.split('&') : [];
  return { method, path, queryParameters, status: status === undefined ? null : Number(status) };
}

/** A parameter whose value is empty or only padding of base64 can be a secret without a name. */
function toName(parameter: string): string {
  const [, name] = /^([^=]+)=+[^=]/.exec(parameter) ?? [];
  return name ?? (parameter === '' ? '' : '*');
}
