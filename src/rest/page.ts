import type { z } from 'zod';
import type { Caller } from '../access/caller.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import type { ConnectionParts } from '../connections/parts.ts';
import { listConnections } from '../connections/read.ts';
import type { listQuery } from './input.ts';
import type { Answer } from './route.ts';

/** A page of a list, with a link to the next one. */
export async function page<T>(
  parts: ConnectionParts,
  caller: Caller,
  path: string,
  query: z.output<typeof listQuery> & { app?: string },
  show: (connection: AppConnection) => T,
): Promise<Answer<{ appConnections: T[] }>> {
  const { projectId, app, limit, cursor } = query;
  const found = await listConnections(parts, caller, { projectId, app, first: limit, after: cursor });
  const body = { appConnections: found.nodes.map(show) };
  if (found.endCursor === null || !(await found.hasNextPage())) return { body };
  const next = new URLSearchParams({ cursor: found.endCursor });
  if (limit !== undefined) next.set('limit', `${limit}`);
  if (projectId !== undefined) next.set('projectId', `${projectId}`);
  return { body, headers: { link: `<${path}?${next}>; rel="next"` } };
}
