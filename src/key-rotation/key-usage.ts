import type { Database } from '../database/database.ts';
import type { Keyring } from '../encryption/keyring.ts';

/** A root key, and what hangs on it. */
export interface RootKeyUse {
  id: string;
  /** Whether it is among the root keys in force. */
  isHere: boolean;
  /** How many data keys it wraps, retired ones too. */
  dataKeys: number;
  /** How many connections are sealed under those. */
  connections: number;
}

/** What hangs on which key. */
export interface KeyUsageReport {
  /** Those in force in their order, the one that wraps first; then those that are missing. */
  rootKeys: RootKeyUse[];
  /** How many data keys another root key than the first wraps. */
  behind: number;
  /** How many organisations seal under a data key that was made under another root key than the first. */
  outdated: number;
  /** How many connections are sealed under a data key that was made under another root key than the first. */
  sealedBefore: number;
  /** How many connections are sealed under a data key that is retired. */
  underRetired: number;
}

/** Counts, as things are at this moment. */
export async function reportKeyUsage(
  database: Database,
  { ids, primaryId }: Keyring,
): Promise<KeyUsageReport> {
  const rows: {
    root_key_id: string;
    data_keys: number;
    connections: number;
    outdated: number;
    sealed_before: number;
    under_retired: number;
  }[] = await database.asSystem().execute(
    `select root_key_id, count(*)::int as data_keys, coalesce(sum(connections), 0)::int as connections,
        (count(*) filter (where purpose = 'SEAL' and retired_at is null and made_under <> ?))::int as outdated,
        coalesce(sum(connections) filter (where made_under <> ?), 0)::int as sealed_before,
        coalesce(sum(connections) filter (where retired_at is not null), 0)::int as under_retired
      from data_key left join
        (select data_key_id, count(*) as connections from app_connection group by data_key_id) as sealed
        on data_key_id = id
      where root_key_id <> ''
      group by root_key_id order by root_key_id`,
    [primaryId, primaryId],
  );
  const missing = rows.map((row) => row.root_key_id).filter((id) => !ids.includes(id));
  const sum = (of: (row: (typeof rows)[number]) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    rootKeys: [...ids, ...missing].map((id) => {
      const row = rows.find(({ root_key_id: rootKeyId }) => rootKeyId === id);
      const { data_keys: dataKeys = 0, connections = 0 } = row ?? {};
      return { id, isHere: ids.includes(id), dataKeys, connections };
    }),
    behind: sum((row) => (row.root_key_id === primaryId ? 0 : row.data_keys)),
    outdated: sum((row) => row.outdated),
    sealedBefore: sum((row) => row.sealed_before),
    underRetired: sum((row) => row.under_retired),
  };
}
