import type { z } from 'zod';
import type { Caller } from '../access/caller.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import type { ConnectionParts } from '../connections/parts.ts';
import { listConnections } from '../connections/read.ts';
import type { listQuery } from './input.ts';
import type { Answer } from './route.ts';

/** What a list was asked for with: its query as it came, with names in lower case as they are. */
type Query = Readonly<Record<string, unknown>>;

/** A page of connections, with a link to the next one. */
export async function page<T>(
  parts: ConnectionParts,
  caller: Caller,
  path: string,
  query: z.output<typeof listQuery> & { app?: string },
  show: (connection: AppConnection) => T,
): Promise<Answer<{ appConnections: T[] }>> {
  const { app, ...asked } = query;
  const { projectId, limit, cursor } = asked;
  const found = await listConnections(parts, caller, { projectId, app, first: limit, after: cursor });
  const next = found.endCursor !== null && (await found.hasNextPage()) ? found.endCursor : null;
  return { body: { appConnections: found.nodes.map(show) }, ...linkTo(path, asked, next) };
}

/**
 * The header that leads to the next page.
 *
 * @param query with which this page was asked for
 * @param cursor where the next page starts; null if there is none
 */
export function linkTo(path: string, query: Query, cursor: string | null): Pick<Answer<unknown>, 'headers'> {
  if (cursor === null) return {};
  const next = new URLSearchParams({ cursor });
  for (const [name, value] of Object.entries(query)) {
    if (name === 'cursor' || value === undefined) continue;
    next.set(name, value instanceof Date ? value.toISOString() : String(value));
  }
  return { headers: { link: `<${path}?${next}>; rel="next"` } };
}
