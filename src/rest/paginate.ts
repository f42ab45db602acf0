import type { z } from 'zod';
import { fromZodError } from '../common/errors.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { listConnectionsSchema } from '../connections/list-input.ts';
import { listConnections } from '../connections/operations/read.ts';
import type { Caller } from '../identity/caller.ts';
import type { listQuery } from './request-schemas.ts';
import type { RestResponse } from './route.ts';

/** What a list was asked for with: its query as it came, with names in lower case as they are. */
type Query = Readonly<Record<string, unknown>>;

/**
 * A page of connections, with a link to the next one.
 *
 * @param where the path of the route, and the app whose connections it lists; absent for all
 */
export async function paginate<T>(
  deps: ConnectionDeps,
  caller: Caller,
  { path, app }: { path: string; app?: string },
  query: z.output<ReturnType<typeof listQuery>> & { app?: string | undefined },
  show: (connection: AppConnection) => T,
): Promise<RestResponse<{ appConnections: T[] }>> {
  const { projectId, limit, cursor, orderBy, direction, ...filter } = query;
  const isFiltered = Object.values(filter).some((value) => value != null);
  const isOrdered = orderBy !== undefined || direction !== undefined;
  const { success, data, error } = listConnectionsSchema.safeParse({
    ...{ projectId, app, first: limit, after: cursor },
    ...(isFiltered && { filter }),
    ...(isOrdered && { orderBy: { field: orderBy ?? 'name', direction: direction ?? 'asc' } }),
  });
  if (!success) throw fromZodError(error);
  const found = await listConnections(deps, caller, data);
  const next = found.endCursor !== null && (await found.hasNextPage()) ? found.endCursor : null;
  return { body: { appConnections: found.nodes.map(show) }, ...linkHeader(path, query, next) };
}

/**
 * The header that leads to the next page.
 *
 * @param query with which this page was asked for
 * @param cursor where the next page starts; null if there is none
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
