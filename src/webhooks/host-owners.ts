import { originSql, urlFields } from '../connections/credentials/host.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { type DescribedEvent, findHost } from './body.ts';

/** The most owners who are told of a host. */
const maxOwners = 1_000;
/** The most connections that an e-mail names. */
const maxNames = 3;

/** An owner of connections to a host. */
export interface HostOwner {
  email: string;
  /** The names of some of these connections, in alphabetical order. */
  names: string[];
  /** The number of these connections. */
  count: number;
}

/** Whether an event is about a host, and so concerns the owners of many connections. */
export function isAboutHost(event: DescribedEvent): boolean {
  return findHost(event) !== undefined;
}

/** Finds the owners of the connections to the host that an event is about, in the order of their addresses; at most 1,000. */
export async function findHostOwners(
  { apps, database }: Pick<ConnectionDeps, 'apps' | 'database'>,
  event: DescribedEvent,
): Promise<HostOwner[]> {
  return database.forOrganisation(event.orgId).execute<HostOwner[]>(
    `select owner ->> 'email' as email, (array_agg(name order by name))[1:${maxNames}] as names, count(*)::int as count
      from app_connection where org_id = ? and deleted_at is null and owner is not null and ${originSql} = ?
      group by 1 order by 1 limit ${maxOwners}`,
    [event.orgId, urlFields(apps), findHost(event) ?? null],
  );
}

/** Names the connections of an owner, so that an e-mail about a host says what it is about. */
export function describeConnections({ names, count }: HostOwner): string {
  const more = count - names.length;
  return `Your connections to it: ${names.join(', ')}${more > 0 ? `, and ${more} more` : ''}.`;
}
