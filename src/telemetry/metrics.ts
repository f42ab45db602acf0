import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import {
  type RequestMeasurement,
  requestMeasurements,
  type UpstreamMeasurement,
  upstreamMeasurements,
} from '../common/measurements.ts';
import { version } from '../common/server-identity.ts';
import type { Database } from '../database/database.ts';
import { readStoredFacts, type StoredFacts } from './stored-facts.ts';

/** What the metrics are about. */
export interface MetricsDependencies {
  database: Pick<Database, 'asSystem' | 'readPoolUse'>;
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

/** For how long what is read from the database is cached, in milliseconds. */
const cacheMs = 30_000;

/**
 * Starts to measure. Every label has a bounded number of values, which the code determines: no name and no id of a tenant, and
 * nothing that a caller chooses.
 */
export function startMetrics({ database, isReady }: MetricsDependencies): Metrics {
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
  const connections = new Gauge({
    name: 'app_connections_connections',
    help: 'Stored connections by app and status of their verification',
    labelNames: ['app', 'status'],
    registers,
  });
  const oldestTransaction = new Gauge({
    name: 'app_connections_database_oldest_transaction_seconds',
    help: 'The age of the oldest transaction of the database that its user may see',
    registers,
  });

  const onRequest = ({ surface, operation, outcome, ms, databaseMs }: RequestMeasurement) => {
    requests.observe({ surface, operation, outcome }, ms / 1_000);
    waitsForDatabase.observe({ surface }, databaseMs / 1_000);
  };
  const onUpstream = ({ outcome, ms }: UpstreamMeasurement) => {
    upstream.observe({ outcome }, ms / 1_000);
    if (!/^\dxx$/.test(outcome)) upstreamFailures.inc({ reason: outcome });
  };
  requestMeasurements.subscribe(onRequest);
  upstreamMeasurements.subscribe(onUpstream);

  let cached: { until: number; facts: Promise<StoredFacts | undefined> } | undefined;
  const readCached = () => {
    if (!cached || cached.until < performance.now())
      // Without the database, the other metrics are most needed.
      cached = {
        until: performance.now() + cacheMs,
        facts: readStoredFacts(database).catch(() => undefined),
      };
    return cached.facts;
  };
  return {
    async read() {
      ready.set((await isReady()) ? 1 : 0);
      const use = await database.readPoolUse();
      if (use) {
        pool.set({ state: 'used' }, use.used);
        pool.set({ state: 'idle' }, use.idle);
        waiting.set(use.waiting);
      }
      const facts = await readCached();
      connections.reset();
      oldestTransaction.remove();
      for (const { app, status, count } of facts?.connections ?? []) connections.set({ app, status }, count);
      if (facts) oldestTransaction.set(facts.oldestTransactionSeconds);
      return { type: registry.contentType, text: await registry.metrics() };
    },
    stop() {
      requestMeasurements.unsubscribe(onRequest);
      upstreamMeasurements.unsubscribe(onUpstream);
      registry.clear();
    },
  };
}
