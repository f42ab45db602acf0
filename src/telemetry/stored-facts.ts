import { countOrganisations, type OrganisationState } from '../administration/list-organisations.ts';
import { measureStream, type StreamBacklog } from '../audit/measure-stream.ts';
import { type CheckBacklog, measureCheckBacklog } from '../connections/checks/find-due.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { type BudgetCounts, countBudgets } from '../connections/rate-budget/count-budgets.ts';
import type { Database } from '../database/database.ts';
import { measureWebhookBacklog, type WebhookBacklog } from '../webhooks/measure-backlog.ts';

/** Metrics that are read from the database. */
export interface StoredFacts {
  connections: { app: string; status: string; count: number }[];
  /** Number of organisations by state. */
  organisations: Record<OrganisationState, number>;
  budgets: BudgetCounts;
  checks: CheckBacklog;
  webhooks: WebhookBacklog[];
  /** Undefined if audit events are not streamed. */
  stream: StreamBacklog | undefined;
  oldestTransactionSeconds: number;
}

/** The dependencies of `readStoredFacts`. */
export type StoredFactsDeps = Pick<ConnectionDeps, 'apps'> & {
  database: Pick<Database, 'asSystem'>;
  /** Whether audit events are streamed. */
  streamsAudit: boolean;
};

/** Reads the metrics of all organisations, one statement after the other, so that they take one connection of the pool. */
export async function readStoredFacts({
  apps,
  database,
  streamsAudit,
}: StoredFactsDeps): Promise<StoredFacts> {
  const em = database.asSystem();
  const connections: StoredFacts['connections'] = await em.execute(
    `select "app", "verification_status" as "status", count(*)::int as "count" from "app_connection"
      where "deleted_at" is null group by 1, 2 order by 1, 2`,
  );
  const [oldest] = await em.execute<[{ seconds: number }]>(
    `select coalesce(extract(epoch from max(clock_timestamp() - "xact_start")), 0)::float8 as "seconds"
      from pg_stat_activity where "datname" = current_database() and "pid" <> pg_backend_pid()`,
  );
  return {
    connections,
    organisations: await countOrganisations(em),
    budgets: await countBudgets(database),
    checks: await measureCheckBacklog({ apps, database }),
    webhooks: await measureWebhookBacklog(database),
    stream: streamsAudit ? await measureStream(em) : undefined,
    oldestTransactionSeconds: oldest.seconds,
  };
}
