import type { Database } from '../database/database.ts';
import type { Keyring } from '../encryption/keyring.ts';

/** A root key, and the number of data keys and connections that depend on it. */
export interface RootKeyUse {
  id: string;
  /** Whether it is among the root keys in force. */
  isConfigured: boolean;
  /** Number of data keys that it wraps, including retired ones. */
  dataKeys: number;
  /** Number of connections that are encrypted under those. */
  connections: number;
}

/** The data keys and connections that depend on each root key. */
export interface KeyUsageReport {
  /** The root keys in force, the primary first; then those that are in use but missing. */
  rootKeys: RootKeyUse[];
  /** Number of data keys that a root key other than the primary wraps. */
  dataKeysToRewrap: number;
  /** Number of organisations whose active `SEAL` key was created under another root key than the primary. */
  organisationsToReseal: number;
  /** Number of connections that are encrypted under a data key from another root key than the primary. */
  connectionsUnderOldRoot: number;
  /** Number of connections that are encrypted under a retired data key. */
  connectionsUnderRetiredKey: number;
}

/** Counts data keys and connections by root key. */
export async function reportKeyUsage(
  database: Database,
  { ids, primaryId }: Keyring,
): Promise<KeyUsageReport> {
  // A destroyed key has no root key.
  const rows: {
    root_key_id: string;
    data_keys: number;
    connections: number;
    organisations_to_reseal: number;
    connections_under_old_root: number;
    connections_under_retired_key: number;
  }[] = await database.asSystem().execute(
    `select root_key_id, count(*)::int as data_keys, coalesce(sum(connections), 0)::int as connections,
        (count(*) filter (where purpose = 'SEAL' and retired_at is null and made_under <> ?))::int as organisations_to_reseal,
        coalesce(sum(connections) filter (where made_under <> ?), 0)::int as connections_under_old_root,
        coalesce(sum(connections) filter (where retired_at is not null), 0)::int as connections_under_retired_key
      from data_key left join
        (select data_key_id, count(*) as connections from app_connection group by data_key_id) as sealed
        on data_key_id = id
      where root_key_id <> ''
      group by root_key_id order by root_key_id`,
    [primaryId, primaryId],
  );
  const missing = rows.map((row) => row.root_key_id).filter((id) => !ids.includes(id));
  const sum = (count: (row: (typeof rows)[number]) => number) =>
    rows.reduce((total, row) => total + count(row), 0);
  return {
    rootKeys: [...ids, ...missing].map((id) => {
      const row = rows.find(({ root_key_id: rootKeyId }) => rootKeyId === id);
      const { data_keys: dataKeys = 0, connections = 0 } = row ?? {};
      return { id, isConfigured: ids.includes(id), dataKeys, connections };
    }),
    dataKeysToRewrap: sum((row) => (row.root_key_id === primaryId ? 0 : row.data_keys)),
    organisationsToReseal: sum((row) => row.organisations_to_reseal),
    connectionsUnderOldRoot: sum((row) => row.connections_under_old_root),
    connectionsUnderRetiredKey: sum((row) => row.connections_under_retired_key),
  };
}
