import { setTimeout } from 'node:timers/promises';
import { Gauge, type Registry } from 'prom-client';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import { readStoredFacts, type StoredFacts, type StoredFactsDeps } from './stored-facts.ts';

/** For how long what is read from the database is cached, in milliseconds. */
const cacheMs = 30_000;
/** The longest that a scrape waits for the database, in milliseconds: scrapers wait for ten seconds. */
const maxWaitMs = 5_000;

/** The metrics that are read from the database. */
export interface StoredMetrics {
  /** Sets them to what was read in the last half minute, or removes them if the database does not answer. */
  refresh(): Promise<void>;
}

/** The dependencies of `createStoredMetrics`. */
export type StoredMetricsDeps = StoredFactsDeps & { log: Logger };

/** Registers the metrics that are read from the database. Scrapes at the same time share a reading. */
export function createStoredMetrics(registry: Registry, deps: StoredMetricsDeps): StoredMetrics {
  const registers = [registry];
  const connections = new Gauge({
    name: 'app_connections_connections',
    help: 'Stored connections by app and status of their verification',
    labelNames: ['app', 'status'],
    registers,
  });
  const organisations = new Gauge({
    name: 'app_connections_organisations',
    help: 'Organisations by state',
    labelNames: ['state'],
    registers,
  });
  const budgets = new Gauge({
    name: 'app_connections_rate_budgets',
    help: 'Rate budgets of connections that are in use, by what is left of them',
    labelNames: ['left'],
    registers,
  });
  const checksDue = new Gauge({
    name: 'app_connections_checks_due',
    help: 'Connections whose check is due',
    registers,
  });
  const checksLate = new Gauge({
    name: 'app_connections_checks_lateness_seconds',
    help: 'For how long the check that waits longest has been due',
    registers,
  });
  const endpoints = new Gauge({
    name: 'app_connections_webhook_endpoints',
    help: 'Webhook endpoints by state',
    labelNames: ['state'],
    registers,
  });
  const messages = new Gauge({
    name: 'app_connections_webhook_waiting_messages',
    help: 'Messages that wait for their first or next attempt, by the state of their endpoint',
    labelNames: ['state'],
    registers,
  });
  const oldestMessage = new Gauge({
    name: 'app_connections_webhook_oldest_waiting_seconds',
    help: 'The age of the oldest event that waits for delivery, by the state of its endpoint',
    labelNames: ['state'],
    registers,
  });
  const unstreamed = new Gauge({
    name: 'app_connections_audit_stream_waiting_events',
    help: 'Audit events that were not delivered to AUDIT_STREAM yet',
    registers,
  });
  const oldestUnstreamed = new Gauge({
    name: 'app_connections_audit_stream_oldest_waiting_seconds',
    help: 'The age of the oldest audit event that was not delivered to AUDIT_STREAM yet',
    registers,
  });
  const streamFails = new Gauge({
    name: 'app_connections_audit_stream_failing',
    help: 'Whether the last delivery to AUDIT_STREAM has failed',
    registers,
  });
  const oldestTransaction = new Gauge({
    name: 'app_connections_database_oldest_transaction_seconds',
    help: 'The age of the oldest transaction of the database that its user may see',
    registers,
  });
  const set = (facts: StoredFacts) => {
    for (const { app, status, count } of facts.connections) connections.set({ app, status }, count);
    for (const [state, count] of Object.entries(facts.organisations))
      organisations.set({ state: state.toLowerCase() }, count);
    for (const [left, count] of Object.entries(facts.budgets)) budgets.set({ left }, count);
    checksDue.set(facts.checks.due);
    checksLate.set(facts.checks.latenessSeconds);
    for (const { state, ...backlog } of facts.webhooks) {
      endpoints.set({ state }, backlog.endpoints);
      if (state === 'disabled') continue;
      messages.set({ state }, backlog.messages);
      oldestMessage.set({ state }, backlog.oldestSeconds);
    }
    if (facts.stream) {
      unstreamed.set(facts.stream.events);
      oldestUnstreamed.set(facts.stream.oldestSeconds);
      streamFails.set(facts.stream.failingSince ? 1 : 0);
    }
    oldestTransaction.set(facts.oldestTransactionSeconds);
  };

  let cached: { until: number; facts: Promise<StoredFacts | undefined> } | undefined;
  const readCached = () => {
    if (cached && cached.until > performance.now()) return cached.facts;
    // While a slow reading runs, no other one starts.
    const reading = {
      until: Number.POSITIVE_INFINITY,
      facts: Promise.resolve<StoredFacts | undefined>(undefined),
    };
    reading.facts = readStoredFacts(deps)
      .catch((error: unknown) => {
        // Without the database, the other metrics are most needed.
        const level = isDatabaseUnavailable(error) ? 'debug' : 'error';
        deps.log[level]({ error: safeErrorFields(error) }, 'metrics could not be read from the database');
        return undefined;
      })
      .finally(() => {
        reading.until = performance.now() + cacheMs;
      });
    cached = reading;
    return reading.facts;
  };
  return {
    async refresh() {
      const waiting = new AbortController();
      const { signal } = waiting;
      const timeout = setTimeout(maxWaitMs, undefined, { signal }).catch(() => undefined);
      const facts = await Promise.race([readCached(), timeout]);
      waiting.abort();
      for (const gauge of [connections, organisations, budgets, endpoints, messages, oldestMessage])
        gauge.reset();
      // A gauge without labels is reset to 0.
      for (const gauge of [
        checksDue,
        checksLate,
        oldestTransaction,
        unstreamed,
        oldestUnstreamed,
        streamFails,
      ])
        gauge.remove();
      if (facts) set(facts);
    },
  };
}
