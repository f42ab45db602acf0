import type pg from 'pg';
import { listOrganisations } from '../../../src/administration/list-organisations.ts';
import { listScheduledWork } from '../../../src/app/scheduled-work.ts';
import { createApps } from '../../../src/apps/index.ts';
import { deleteEventsBefore } from '../../../src/audit/delete-old-events.ts';
import type { Stores } from '../../../src/bootstrap/stores.ts';
import { createLog } from '../../../src/common/log.ts';
import type { ConnectionDeps } from '../../../src/connections/deps.ts';
import { purgeExpired } from '../../../src/connections/operations/purge.ts';
import { purgeIdempotentRequests } from '../../../src/connections/persistence/idempotency.ts';
import { purgeUnusedBudgets } from '../../../src/connections/rate-budget/budget-store.ts';
import { purgeSetupLinks } from '../../../src/connections/setup-links/purge.ts';
import { deleteExpiredUsage, deleteUsageOfPurged } from '../../../src/connections/usage/delete-usage.ts';
import { firstOrganisationId } from '../../../src/identity/organisations.ts';
import { purgeExpiredWindows } from '../../../src/rate-limits/rate-limits.ts';
import { readStoredFacts } from '../../../src/telemetry/stored-facts.ts';
import { findEndpoints } from '../../../src/webhooks/delivery.ts';
import { purgeWebhookMessages } from '../../../src/webhooks/purge.ts';
import { otherColumns } from '../../peers/databases.ts';
import type { Rounds } from '../../peers/rounds.ts';
import { formatQuartiles, median, ratiosPerRound, table } from '../../peers/summary.ts';
import { target } from './requests.ts';

/** A database with the means to work in it. */
export interface Site {
  stores: Stores;
  /** A connection of a superuser. */
  client: pg.Client;
}

/** Work of a server without a request. */
interface Work {
  /** Whether the duration is divided by the result of `run`, the number of organisations. */
  isPerOrganisation?: true;
  /** Makes rows due, before each round. */
  prepare?(client: pg.Client): Promise<unknown>;
  run(stores: Stores): Promise<unknown>;
}

/** The rows that each round of a purge removes: one transaction. */
const dueRows = 200;

const log = createLog('silent');
const apps = createApps({} as never);

function deps({ database, vault }: Stores): ConnectionDeps {
  const known = { apps, database, vault, log, deletedRetentionDays: 30, auditRetentionDays: undefined };
  return { ...known, outbound: { listCertificates: () => [] } } as unknown as ConnectionDeps;
}

/** Copies rows of the first organisation, changed by a JSON object in SQL. */
const copyRows =
  (name: string, changes: string, source = name) =>
  (client: pg.Client) =>
    client.query(
      `insert into ${name} select (jsonb_populate_record(null::${name}, to_jsonb(c) || ${changes})).*
      from (select * from ${source} where org_id = $1 limit ${dueRows}) c cross join generate_series(1, ${dueRows}) i limit ${dueRows}
      on conflict do nothing`,
      [firstOrganisationId],
    );

const scheduled = (index: number): Work => ({
  run: async (stores) => {
    const intervals = {
      checkIntervalMs: 1,
      revocationIntervalMs: 1,
      keyRotationIntervalMs: 1,
      expiryIntervalMs: 1,
    };
    await listScheduledWork(deps(stores), { connectionKeyRotationDays: 30 }, intervals)[index]?.findDue();
  },
});
const long = `'2020-01-01'`;

const works: Record<string, Work> = {
  'checks that are due': {
    ...scheduled(0),
    prepare: (client) =>
      client.query(
        `update app_connection set next_check_at = now() where id in (select id from app_connection
          where org_id = $1 and deleted_at is null order by name limit 20)`,
        [firstOrganisationId],
      ),
  },
  'revocations that are due': scheduled(1),
  'keys that are due': scheduled(2),
  'warnings that are due': scheduled(3),
  'webhook endpoints that are due': {
    run: ({ database }) => findEndpoints({ database }, [], []),
  },
  [`purge of ${dueRows} connections`]: {
    prepare: async (client) => {
      const others = await otherColumns(client, 'id', 'deleted_at', 'tags');
      await client.query(
        `insert into app_connection (id, deleted_at, ${others}) select gen_random_uuid(), ${long}, ${others}
          from app_connection where org_id = $1 order by name limit ${dueRows}`,
        [firstOrganisationId],
      );
    },
    run: (stores) => purgeExpired(deps(stores)),
  },
  'purge of the usage of purged connections': {
    prepare: (client) =>
      client.query(
        `insert into connection_last_use select org_id, gen_random_uuid(), at, caller from connection_last_use where org_id = $1 limit 10`,
        [firstOrganisationId],
      ),
    run: (stores) => deleteUsageOfPurged(stores),
  },
  [`purge of ${dueRows} hours of usage`]: {
    prepare: copyRows(
      'connection_usage',
      `jsonb_build_object('hour', ${long}::timestamptz + make_interval(hours => i))`,
    ),
    run: (stores) => deleteExpiredUsage(stores),
  },
  [`purge of ${dueRows} rate budgets`]: {
    prepare: copyRows('rate_budget', `jsonb_build_object('bucket', 'b' || i, 'expire', 1)`),
    run: (stores) => purgeUnusedBudgets(stores),
  },
  [`purge of ${dueRows} windows of rate limits`]: {
    prepare: (client) =>
      client.query(`insert into rate_limit select 'due ' || i, 1, 1 from generate_series(1, ${dueRows}) i`),
    run: (stores) => purgeExpiredWindows(stores),
  },
  [`purge of ${dueRows} setup links`]: {
    prepare: copyRows(
      'connection_setup_link',
      `jsonb_build_object('id', gen_random_uuid(), 'hash', gen_random_uuid(), 'expires_at', ${long})`,
    ),
    run: (stores) => purgeSetupLinks(stores),
  },
  [`purge of ${dueRows} messages of webhooks`]: {
    prepare: (client) =>
      client.query(
        `insert into webhook_message (id, org_id, endpoint_id, seq, type, occurred_at, body, created_at, status, attempts,
            next_attempt_at, log, mac)
          select gen_random_uuid(), org_id, id, i, 'connection.updated', now(), '', ${long}, 'DELIVERED', 1, now(), '[]', ''
          from webhook_endpoint cross join generate_series(1, ${dueRows}) i where org_id = $1`,
        [firstOrganisationId],
      ),
    run: (stores) => purgeWebhookMessages(stores),
  },
  'purge of idempotency keys, none due': { run: (stores) => purgeIdempotentRequests(stores) },
  [`retention of ${dueRows} audit events`]: {
    run: async ({ database, vault }) => {
      const [oldest] = await database
        .asSystem()
        .execute<[{ at: string }]>(
          `select at::text from audit_event where org_id = ? order by seq offset ${dueRows} limit 1`,
          [firstOrganisationId],
        );
      await deleteEventsBefore({ database, vault, log }, new Date(oldest.at));
    },
  },
  'list of organisations, for each of them': {
    isPerOrganisation: true,
    run: async ({ database }) => (await listOrganisations(database.asSystem())).length,
  },
  'metrics, for each organisation': {
    isPerOrganisation: true,
    run: async (stores) => {
      const { organisations } = await readStoredFacts({ apps, database: stores.database });
      return organisations.ENABLED;
    },
  },
};

/** Measures the work of servers without requests in turns, one call in each round. */
export async function measureWork(
  sites: { small: Site; big: Site },
  { rounds }: Pick<Rounds, 'rounds'>,
): Promise<string> {
  const rows: string[][] = [];
  for (const [name, work] of Object.entries(works)) {
    const times = { small: [] as number[], big: [] as number[] };
    for (let round = 0; round <= rounds; round += 1) {
      for (const size of ['small', 'big'] as const) {
        const { stores, client } = sites[size];
        await work.prepare?.(client);
        const started = performance.now();
        const result = await work.run(stores);
        const count = work.isPerOrganisation ? Number(result) : 1;
        // The first round warms up.
        if (round > 0) times[size].push((performance.now() - started) / count);
      }
    }
    const ratios = ratiosPerRound(times.big, times.small, (time) => time);
    rows.push([
      name,
      median(times.small).toFixed(1),
      median(times.big).toFixed(1),
      formatQuartiles(ratios),
      target,
    ]);
  }
  return table(['ms of work without a request', 'small', 'big', 'big ÷ small', 'target'], rows);
}
