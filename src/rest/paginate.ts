import type { z } from 'zod';
import { fromZodError } from '../common/errors.ts';
import type { TagFilter } from '../connections/annotations.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { listConnectionsSchema } from '../connections/list-input.ts';
import { listConnections } from '../connections/operations/read.ts';
import type { Caller } from '../identity/caller.ts';
import type { listQuery } from './request-schemas.ts';
import type { RestResponse } from './route.ts';

/** The query parameters of a list. */
type Query = Readonly<Record<string, unknown>>;

/**
 * Returns a page of connections, with a link to the next one. Without `app`, lists the connections of all apps.
 */
export async function paginate<T>(
  deps: ConnectionDeps,
  caller: Caller,
  { path, app }: { path: string; app?: string },
  query: z.output<ReturnType<typeof listQuery>> & { app?: string | undefined },
  show: (connection: AppConnection) => T,
): Promise<RestResponse<{ appConnections: T[] }>> {
  const { projectId, limit, cursor, orderBy, direction, tags, ...others } = query;
  const filter = { ...others, ...(tags !== undefined && { tags: parseTagFilter(tags) }) };
  const isFiltered = Object.values(filter).some((value) => value != null);
  const isOrdered = orderBy !== undefined || direction !== undefined;
  const { success, data, error } = listConnectionsSchema.safeParse({
    projectId,
    app,
    first: limit,
    after: cursor,
    ...(isFiltered && { filter }),
    ...(isOrdered && { orderBy: { field: orderBy ?? 'name', direction: direction ?? 'asc' } }),
  });
  if (!success) throw fromZodError(error);
  const page = await listConnections(deps, caller, data);
  const next = page.endCursor !== null && (await page.hasNextPage()) ? page.endCursor : null;
  return { body: { appConnections: page.nodes.map(show) }, ...linkHeader(path, query, next) };
}

/** Parses `env=prod,team`. No key and no value has a comma, and no key an equals sign. */
function parseTagFilter(text: string): TagFilter[] {
  return text.split(',').map((tag) => {
    const [key = '', value] = tag.split(/=(.*)/s);
    return { key, value };
  });
}

/**
 * Builds the `Link` header to the next page.
 *
 * @param query the query of this page
 * @param cursor the start of the next page; null if there is none
 */
export function linkHeader(
  path: string,
  query: Query,
  cursor: string | null,
): Pick<RestResponse<unknown>, 'headers'> {
  if (cursor === null) return {};
  const next = new URLSearchParams({ cursor });
  for (const [name, value] of Object.entries(query)) {
    if (name === 'cursor' || value === undefined) continue;
    next.set(name, value instanceof Date ? value.toISOString() : String(value));
  }
  return { headers: { link: `<${path}?${next}>; rel="next"` } };
}
