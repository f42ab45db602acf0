import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import {
  type AuditStreamMeasurement,
  auditStreamMeasurements,
  type BudgetRefusalMeasurement,
  budgetRefusalMeasurements,
  budgetRefusalReasons,
  type RequestMeasurement,
  requestMeasurements,
  type UpstreamMeasurement,
  upstreamMeasurements,
} from '../common/measurements.ts';
import { version } from '../common/server-identity.ts';
import type { RateBudgets } from '../connections/rate-budget/rate-budgets.ts';
import type { Database } from '../database/database.ts';
import type { Vault } from '../encryption/vault.ts';
import { createStoredMetrics, type StoredMetricsDeps } from './stored-metrics.ts';

/** What the metrics are about. */
export interface MetricsDeps extends StoredMetricsDeps {
  database: Pick<Database, 'asSystem' | 'readPoolUse'>;
  budgets: Pick<RateBudgets, 'waitingRequests'>;
  vault: Pick<Vault, 'dataKeys'>;
  /** Whether the server is ready. */
  isReady(): Promise<boolean>;
}

/** The metrics of a server. */
export interface Metrics {
  /** Returns the metrics in the text format of Prometheus. */
  read(): Promise<{ type: string; text: string }>;
  stop(): void;
}

const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/**
 * Starts to measure. Every label has a bounded number of values, which the code determines: no name and no id of a tenant, and
 * nothing that a caller chooses.
 */
export function startMetrics(deps: MetricsDeps): Metrics {
  const { apps, database, budgets, vault, log, streamsAudit, isReady } = deps;
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'app_connections_build_info', help: 'Always 1', labelNames: ['version'], registers }).set(
    { version },
    1,
  );
  const requests = new Histogram({
    name: 'app_connections_request_duration_seconds',
    help: 'Requests of callers, to the end of the response',
    labelNames: ['surface', 'operation', 'outcome'],
    buckets: requestBuckets,
    registers,
  });
  const waitsForDatabase = new Histogram({
    name: 'app_connections_request_database_seconds',
    help: 'The part of a request that waits for the database',
    labelNames: ['surface'],
    buckets: requestBuckets,
    registers,
  });
  const upstream = new Histogram({
    name: 'app_connections_upstream_duration_seconds',
    help: 'Requests to Okta and the identity provider, to the headers of the response',
    labelNames: ['outcome'],
    buckets: requestBuckets,
    registers,
  });
  const upstreamFailures = new Counter({
    name: 'app_connections_upstream_failures_total',
    help: 'Requests to Okta and the identity provider without a response',
    labelNames: ['reason'],
    registers,
  });
  const ready = new Gauge({ name: 'app_connections_ready', help: 'Whether the server is ready', registers });
  const pool = new Gauge({
    name: 'app_connections_database_pool_connections',
    help: 'Connections of the pool',
    labelNames: ['state'],
    registers,
  });
  const waiting = new Gauge({
    name: 'app_connections_database_pool_waiting',
    help: 'Requests that wait for a connection of the pool',
    registers,
  });
  const budgetRefusals = new Counter({
    name: 'app_connections_rate_budget_refusals_total',
    help: 'Requests that were not sent to an app because of the rate budget of their connection',
    labelNames: ['reason'],
    registers,
  });
  // A series that begins with its first refusal has no rate.
  for (const reason of budgetRefusalReasons) budgetRefusals.inc({ reason }, 0);
  const waitingForBudgets = new Gauge({
    name: 'app_connections_rate_budget_waiting_requests',
    help: 'Requests of this server that wait for the rate budget of their connection',
    registers,
  });
  const streamed = new Counter({
    name: 'app_connections_audit_stream_events_total',
    help: 'Audit events that this server has delivered to AUDIT_STREAM',
    registers,
  });
  const streamFailures = new Counter({
    name: 'app_connections_audit_stream_failures_total',
    help: 'Deliveries of audit events to AUDIT_STREAM that have failed on this server',
    registers,
  });
  const damagedKeys = new Gauge({
    name: 'app_connections_damaged_data_keys',
    help: 'Data keys that this server has found damaged since its start',
    registers,
  });
  const stored = createStoredMetrics(registry, { apps, database, log, streamsAudit });

  const onRequest = ({ surface, operation, outcome, ms, databaseMs }: RequestMeasurement) => {
    requests.observe({ surface, operation, outcome }, ms / 1_000);
    waitsForDatabase.observe({ surface }, databaseMs / 1_000);
  };
  const onUpstream = ({ outcome, ms }: UpstreamMeasurement) => {
    upstream.observe({ outcome }, ms / 1_000);
    if (!/^\dxx$/.test(outcome)) upstreamFailures.inc({ reason: outcome });
  };
  const onRefusal = ({ reason }: BudgetRefusalMeasurement) => budgetRefusals.inc({ reason });
  const onStream = ({ events, isDelivered }: AuditStreamMeasurement) => {
    if (isDelivered) streamed.inc(events);
    else streamFailures.inc();
  };
  requestMeasurements.subscribe(onRequest);
  upstreamMeasurements.subscribe(onUpstream);
  budgetRefusalMeasurements.subscribe(onRefusal);
  auditStreamMeasurements.subscribe(onStream);
  return {
    async read() {
      ready.set((await isReady()) ? 1 : 0);
      const use = await database.readPoolUse();
      if (use) {
        pool.set({ state: 'used' }, use.used);
        pool.set({ state: 'idle' }, use.idle);
        waiting.set(use.waiting);
      }
      waitingForBudgets.set(budgets.waitingRequests);
      damagedKeys.set(vault.dataKeys.damagedKeys);
      await stored.refresh();
      return { type: registry.contentType, text: await registry.metrics() };
    },
    stop() {
      requestMeasurements.unsubscribe(onRequest);
      upstreamMeasurements.unsubscribe(onUpstream);
      budgetRefusalMeasurements.unsubscribe(onRefusal);
      auditStreamMeasurements.unsubscribe(onStream);
      registry.clear();
    },
  };
}
