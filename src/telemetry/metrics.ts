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
  collectDefaultMetrics({ register: registry });
  const gauges = createGauges(registry);
  const stored = createStoredMetrics(registry, { apps, database, log, streamsAudit });
  const unsubscribe = countMeasurements(registry);
  return {
    async read() {
      gauges.ready.set((await isReady()) ? 1 : 0);
      const use = await database.readPoolUse();
      if (use) {
        gauges.pool.set({ state: 'used' }, use.used);
        gauges.pool.set({ state: 'idle' }, use.idle);
        gauges.waitingForPool.set(use.waiting);
      }
      gauges.waitingForBudgets.set(budgets.waitingRequests);
      gauges.damagedKeys.set(vault.dataKeys.damagedKeys);
      await stored.refresh();
      return { type: registry.contentType, text: await registry.metrics() };
    },
    stop() {
      unsubscribe();
      registry.clear();
    },
  };
}

/** Registers the metrics that are read from memory at each scrape, and the version. */
function createGauges(registry: Registry) {
  const gauge = <Label extends string = never>(name: string, help: string, labelNames: Label[] = []) =>
    new Gauge({ name: `app_connections_${name}`, help, labelNames, registers: [registry] });
  gauge('build_info', 'Always 1', ['version']).set({ version }, 1);
  return {
    ready: gauge('ready', 'Whether the server is ready'),
    pool: gauge('database_pool_connections', 'Connections of the pool', ['state']),
    waitingForPool: gauge('database_pool_waiting', 'Requests that wait for a connection of the pool'),
    waitingForBudgets: gauge(
      'rate_budget_waiting_requests',
      'Requests of this server that wait for the rate budget of their connection',
    ),
    damagedKeys: gauge('damaged_data_keys', 'Data keys that this server has found damaged since its start'),
  };
}

/**
 * Registers the metrics that count measurements, and subscribes to these.
 *
 * @returns unsubscribes
 */
function countMeasurements(registry: Registry): () => void {
  const registers = [registry];
  const histogram = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Histogram({ name: `app_connections_${name}`, help, labelNames, buckets: requestBuckets, registers });
  const counter = <Label extends string = never>(name: string, help: string, labelNames: Label[] = []) =>
    new Counter({ name: `app_connections_${name}`, help, labelNames, registers });
  const requests = histogram('request_duration_seconds', 'Requests of callers, to the end of the response', [
    'surface',
    'operation',
    'outcome',
  ]);
  const waitsForDatabase = histogram(
    'request_database_seconds',
    'The part of a request that waits for the database',
    ['surface'],
  );
  const upstream = histogram(
    'upstream_duration_seconds',
    'Requests to Okta and the identity provider, to the headers of the response',
    ['outcome'],
  );
  const upstreamFailures = counter(
    'upstream_failures_total',
    'Requests to Okta and the identity provider without a response',
    ['reason'],
  );
  const budgetRefusals = counter(
    'rate_budget_refusals_total',
    'Requests that were not sent to an app because of the rate budget of their connection',
    ['reason'],
  );
  // A series that begins with its first refusal has no rate.
  for (const reason of budgetRefusalReasons) budgetRefusals.inc({ reason }, 0);
  const streamed = counter(
    'audit_stream_events_total',
    'Audit events that this server has delivered to AUDIT_STREAM',
  );
  const streamFailures = counter(
    'audit_stream_failures_total',
    'Deliveries of audit events to AUDIT_STREAM that have failed on this server',
  );

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
  return () => {
    requestMeasurements.unsubscribe(onRequest);
    upstreamMeasurements.unsubscribe(onUpstream);
    budgetRefusalMeasurements.unsubscribe(onRefusal);
    auditStreamMeasurements.unsubscribe(onStream);
  };
}
