import { createBatchLoader } from '../../database/batch-loader.ts';
import type { Database } from '../../database/database.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import {
  type ConnectionUsageCounts,
  readUsageByCaller,
  readUsageCounts,
  type UsageOfCaller,
} from './read-usage.ts';
import { type ConnectionUser, readUsers } from './read-users.ts';
import { LastUse } from './usage.entity.ts';
import type { UsageCounter } from './usage-counter.ts';
import { type UsageRange, usageRetentionDays } from './usage-range.ts';

/** The dependencies of reading usage. */
export interface UsageDeps {
  database: Database;
  usage: UsageCounter;
}

/** Reads usage of connections that the caller may see. What is asked in the same event-loop turn shares a statement. */
export interface UsageLoader {
  counts(connectionId: string, range: UsageRange): Promise<ConnectionUsageCounts>;
  callers(connectionId: string, range: UsageRange): Promise<UsageOfCaller[]>;
  /** Who used the connection as long as usage is kept, as `readUsers` returns it. */
  users(connectionId: string): Promise<ConnectionUser[]>;
  lastUse(connectionId: string): Promise<LastUse | undefined>;
}

const loaders = new WeakMap<Caller, UsageLoader>();

/** The loader of a caller. Calls that this server has counted but not stored are stored first, so that a caller sees its own. */
export function usageLoader(deps: UsageDeps, caller: Caller): UsageLoader {
  const cached = loaders.get(caller);
  if (cached) return cached;
  const { database, usage } = deps;
  const { orgId } = caller;
  const counts = rangeLoader(usage, (ids, range) => readUsageCounts(database, orgId, ids, range));
  const callers = rangeLoader(usage, (ids, range) =>
    Promise.all(ids.map((id) => readUsageByCaller(database, orgId, id, range))),
  );
  const lastUse = createBatchLoader(async (ids) => {
    await usage.flush();
    const unique = [...new Set(ids)];
    const found = await database.select(
      LastUse,
      orgId,
      sql`where org_id = ${orgId} and connection_id = any(${unique}::uuid[])`,
    );
    const lastUses = new Map(found.map((each) => [each.connectionId, each]));
    return ids.map((id) => lastUses.get(id));
  });
  const users = createBatchLoader(async (ids) => {
    await usage.flush();
    return Promise.all(ids.map((id) => readUsers(database, orgId, id, usageRetentionDays)));
  });
  const loader = { counts, callers, users, lastUse };
  loaders.set(caller, loader);
  return loader;
}

/** Loads once for each range, however often its connections are asked for. */
function rangeLoader<Value>(
  usage: UsageCounter,
  read: (connectionIds: readonly string[], range: UsageRange) => Promise<readonly Value[]>,
): (connectionId: string, range: UsageRange) => Promise<Value> {
  const load = createBatchLoader(async (keys) => {
    await usage.flush();
    const asked = [...new Set(keys)].map((key) => ({ key, ...parseKey(key) }));
    const values = new Map<string, Value>();
    for (const group of Map.groupBy(asked, ({ rangeKey }) => rangeKey).values()) {
      const range = group[0]?.range;
      if (!range) continue;
      const found = await read(
        group.map(({ connectionId }) => connectionId),
        range,
      );
      for (const [index, { key }] of group.entries()) values.set(key, found[index] as Value);
    }
    return keys.map((key) => values.get(key) as Value);
  });
  return (connectionId, { from, to, by }) => load(`${connectionId} ${from.getTime()} ${to.getTime()} ${by}`);
}

function parseKey(key: string): { connectionId: string; rangeKey: string; range: UsageRange } {
  const [connectionId = '', ...rest] = key.split(' ');
  const [from, to, by] = rest;
  return {
    connectionId,
    rangeKey: rest.join(' '),
    range: { from: new Date(Number(from)), to: new Date(Number(to)), by: by as UsageRange['by'] },
  };
}
