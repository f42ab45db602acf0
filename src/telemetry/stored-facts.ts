import type { Database } from '../database/database.ts';

/** Metrics that are read from the database. */
export interface StoredFacts {
  connections: { app: string; status: string; count: number }[];
  oldestTransactionSeconds: number;
}

/** Counts the connections of all organisations, and reads the age of the oldest transaction. */
export async function readStoredFacts(database: Pick<Database, 'asSystem'>): Promise<StoredFacts> {
  const em = database.asSystem();
  const connections: StoredFacts['connections'] = await em.execute(
    `select "app", "verification_status" as "status", count(*)::int as "count" from "app_connection"
      where "deleted_at" is null group by 1, 2 order by 1, 2`,
  );
  const [oldest] = await em.execute<[{ seconds: number }]>(
    `select coalesce(extract(epoch from max(clock_timestamp() - "xact_start")), 0)::float8 as "seconds"
      from pg_stat_activity where "datname" = current_database() and "pid" <> pg_backend_pid()`,
  );
  return { connections, oldestTransactionSeconds: oldest.seconds };
}
