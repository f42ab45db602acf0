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

type Gauges = ReturnType<typeof createGauges>;

/** Registers the metrics that are read from the database. Scrapes at the same time share a reading. */
export function createStoredMetrics(registry: Registry, deps: StoredMetricsDeps): StoredMetrics {
  const gauges = createGauges(registry);
  const readCached = createCachedReading(deps);
  return {
    async refresh() {
      const waiting = new AbortController();
      const { signal } = waiting;
      const timeout = setTimeout(maxWaitMs, undefined, { signal }).catch(() => undefined);
      const facts = await Promise.race([readCached(), timeout]);
      waiting.abort();
      for (const gauge of Object.values(gauges.labelled)) gauge.reset();
      // A gauge without labels would be reset to 0.
      for (const gauge of Object.values(gauges.single)) gauge.remove();
      if (facts) setGauges(gauges, facts);
    },
  };
}

/** Registers the gauges: those with labels, and those with a single value. */
function createGauges(registry: Registry) {
  const gauge = <Label extends string = never>(name: string, help: string, labelNames: Label[] = []) =>
    new Gauge({ name: `app_connections_${name}`, help, labelNames, registers: [registry] });
  return {
    labelled: {
      connections: gauge('connections', 'Stored connections by app and status of their verification', [
        'app',
        'status',
      ]),
      organisations: gauge('organisations', 'Organisations by state', ['state']),
      budgets: gauge('rate_budgets', 'Rate budgets of connections that are in use, by what is left of them', [
        'left',
      ]),
      endpoints: gauge('webhook_endpoints', 'Webhook endpoints by state', ['state']),
      messages: gauge(
        'webhook_waiting_messages',
        'Messages that wait for their first or next attempt, by the state of their endpoint',
        ['state'],
      ),
      oldestMessage: gauge(
        'webhook_oldest_waiting_seconds',
        'The age of the oldest event that waits for delivery, by the state of its endpoint',
        ['state'],
      ),
    },
    single: {
      checksDue: gauge('checks_due', 'Connections whose check is due'),
      checksLate: gauge('checks_lateness_seconds', 'For how long the check that waits longest has been due'),
      unstreamed: gauge(
        'audit_stream_waiting_events',
        'Audit events that were not delivered to AUDIT_STREAM yet',
      ),
      oldestUnstreamed: gauge(
        'audit_stream_oldest_waiting_seconds',
        'The age of the oldest audit event that was not delivered to AUDIT_STREAM yet',
      ),
      streamFails: gauge('audit_stream_failing', 'Whether the last delivery to AUDIT_STREAM has failed'),
      oldestTransaction: gauge(
        'database_oldest_transaction_seconds',
        'The age of the oldest transaction of the database that its user may see',
      ),
    },
  };
}

function setGauges({ labelled, single }: Gauges, facts: StoredFacts): void {
  for (const { app, status, count } of facts.connections) labelled.connections.set({ app, status }, count);
  for (const [state, count] of Object.entries(facts.organisations))
    labelled.organisations.set({ state: state.toLowerCase() }, count);
  for (const [left, count] of Object.entries(facts.budgets)) labelled.budgets.set({ left }, count);
  for (const { state, endpoints, messages, oldestSeconds } of facts.webhooks) {
    labelled.endpoints.set({ state }, endpoints);
    if (state === 'disabled') continue;
    labelled.messages.set({ state }, messages);
    labelled.oldestMessage.set({ state }, oldestSeconds);
  }
  single.checksDue.set(facts.checks.due);
  single.checksLate.set(facts.checks.latenessSeconds);
  if (facts.stream) {
    single.unstreamed.set(facts.stream.events);
    single.oldestUnstreamed.set(facts.stream.oldestSeconds);
    single.streamFails.set(facts.stream.failingSince ? 1 : 0);
  }
  single.oldestTransaction.set(facts.oldestTransactionSeconds);
}

/** Returns a function that reads the facts, and keeps them for `cacheMs`. It returns undefined if they cannot be read. */
function createCachedReading(deps: StoredMetricsDeps): () => Promise<StoredFacts | undefined> {
  let cached: { until: number; facts: Promise<StoredFacts | undefined> } | undefined;
  return () => {
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
}
