import type { AuditEvent } from '../../audit/audit-event.entity.ts';
import { currentTimeMs } from '../../common/clock.ts';
import { type Logger, safeErrorFields } from '../../common/log.ts';
import type { Database } from '../../database/database.ts';
import { DistinctKeys } from './distinct-keys.ts';
import { durationBucket } from './durations.ts';
import { type CallerRow, type LastUseRow, storeUsage, type UsageRow } from './store-usage.ts';

/** How often counts are stored, in milliseconds. A server that is killed loses those since the last time. */
const flushIntervalMs = 5_000;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** The most callers of a connection that a server tells apart in an hour. */
export const maxCallersOfConnection = 100;

/** The most labels of a connection that a server tells apart in a day of UTC. */
export const maxLabelsOfConnection = 50;

/** The most labels that it tells apart for all callers of a connection together in an hour. */
const maxLabelledRows = 200;

/** The label of all others. */
const otherLabel = 'other';

/** The most rows of an organisation that a server adds to in an hour: of connections, and of their callers. */
export const maxRowsOfOrganisation = 5_000;

/** The most of these rows for calls without a response, whose connections may not exist. */
export const maxRowsWithoutResponse = 2_000;

/** The same for all organisations, and the most rows that wait to be stored. */
const maxRows = 100_000;

/** A call through a connection that has ended. */
export interface UsageCall {
  orgId: string;
  connectionId: string;
  /** `Caller.id`. */
  caller: string;
  /** What the program calls itself; empty if it says nothing. */
  label: string;
  outcome: AuditEvent['outcome'];
  /** Absent if the app did not answer. */
  status?: number | undefined;
  durationMs: number;
  /** The body of the request, as far as it was sent to the app. */
  bytesUp: number;
  /** The body of the response, as far as the app sent it. */
  bytesDown: number;
}

/**
 * Counts calls through connections in memory, and adds the counts to those of all servers every few seconds, in one statement.
 * Its memory and the rows that it stores have bounds, whatever callers do.
 */
export class UsageCounter {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #rows = new Map<string, UsageRow>();
  #callers = new Map<string, CallerRow>();
  #lastUses = new Map<string, LastUseRow>();
  #hour = 0;
  /** The rows of this hour. */
  readonly #keys = new DistinctKeys(maxRows);
  #day = 0;
  /** The labels of this day. */
  readonly #labels = new DistinctKeys(maxRows);
  #uncounted = 0;
  #flushing = Promise.resolve();

  constructor({ database, log }: { database: Database; log: Logger }) {
    this.#database = database;
    this.#log = log;
    this.#timer = setInterval(() => void this.flush(), flushIntervalMs).unref();
  }

  /** Counts a call in the hour in which it ends. */
  count(call: UsageCall): void {
    const now = currentTimeMs();
    const hour = now - (now % hourMs);
    if (hour !== this.#hour) {
      this.#hour = hour;
      this.#keys.clear();
    }
    const day = now - (now % dayMs);
    if (day !== this.#day) {
      this.#day = day;
      this.#labels.clear();
    }
    if (!this.#countOutcome(call, hour)) {
      this.#uncounted += 1;
      return;
    }
    this.#countCaller(call, hour, now);
    const { orgId, connectionId, caller, status } = call;
    const key = `${connectionId} ${orgId}`;
    const lastUse = this.#lastUses.get(key) ?? { orgId, connectionId, at: null, caller: null };
    this.#lastUses.set(key, lastUse);
    if (status !== undefined) Object.assign(lastUse, { at: now, caller });
  }

  /**
   * Stores the counts so far. A failure is logged, and they are stored the next time. If the database stored them but the
   * connection to it was lost before it said so, they are counted twice.
   */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flush());
    return this.#flushing;
  }

  /** Stores the rest and stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  /** @returns whether there was room for it */
  #countOutcome(call: UsageCall, hour: number): boolean {
    const { orgId, connectionId, outcome, status, durationMs } = call;
    const statusClass = status === undefined ? 0 : Math.floor(status / 100);
    const key = `${connectionId} ${orgId} ${hour} ${outcome} ${statusClass}`;
    let row = this.#rows.get(key);
    if (!row) {
      const isAdmitted =
        this.#rows.size < maxRows &&
        (statusClass > 0 || this.#keys.admit(`${orgId} refused`, key, maxRowsWithoutResponse)) &&
        this.#keys.admit(orgId, key, maxRowsOfOrganisation);
      if (!isAdmitted) return false;
      const durations = statusClass > 0 ? [] : null;
      row = {
        ...{ orgId, connectionId, hour, outcome, statusClass },
        ...{ calls: 0, bytesUp: 0, bytesDown: 0, durations },
      };
      this.#rows.set(key, row);
    }
    row.calls += 1;
    row.bytesUp += call.bytesUp;
    row.bytesDown += call.bytesDown;
    if (row.durations) increment(row.durations, durationBucket(durationMs), 1);
    return true;
  }

  #countCaller(call: UsageCall, hour: number, now: number): void {
    const { orgId, connectionId } = call;
    const group = `${connectionId} ${orgId} ${hour}`;
    const { caller, label } = this.#tellApart(call, group);
    const key = `${group} ${label} ${caller}`;
    const row = this.#callers.get(key) ?? {
      ...{ orgId, connectionId, hour, caller, label },
      ...{ calls: 0, failedCalls: 0, bytesUp: 0, bytesDown: 0, lastUsedAt: null },
    };
    this.#callers.set(key, row);
    if (call.status !== undefined) row.lastUsedAt = now;
    row.calls += 1;
    if (call.outcome !== 'OK') row.failedCalls += 1;
    row.bytesUp += call.bytesUp;
    row.bytesDown += call.bytesDown;
  }

  /**
   * Returns the caller and the label under which a call is counted: its own, while there is room for them.
   *
   * @param group of the connection and the hour
   */
  #tellApart(
    { orgId, connectionId, caller, label }: UsageCall,
    group: string,
  ): { caller: string; label: string } {
    if (this.#callers.has(`${group} ${label} ${caller}`)) return { caller, label };
    const others = { caller: '', label: '' };
    if (this.#callers.size >= maxRows || !this.#keys.admit(group, caller, maxCallersOfConnection))
      return others;
    const isOwn =
      label === '' ||
      (this.#labels.admit(`${connectionId} ${orgId}`, label, maxLabelsOfConnection) &&
        this.#keys.admit(`${group} labels`, `${label} ${caller}`, maxLabelledRows));
    const toldApart = { caller, label: isOwn ? label : otherLabel };
    const row = `${group} ${toldApart.label} ${caller}`;
    return this.#keys.admit(`${orgId} callers`, row, maxRowsOfOrganisation) ? toldApart : others;
  }

  async #flush(): Promise<void> {
    if (this.#uncounted > 0) {
      this.#log.warn(
        { calls: this.#uncounted },
        'calls were left out of the usage of connections, because it has too many rows in this hour',
      );
      this.#uncounted = 0;
    }
    if (this.#rows.size === 0) return;
    const [rows, callers, lastUses] = [this.#rows, this.#callers, this.#lastUses];
    this.#rows = new Map();
    this.#callers = new Map();
    this.#lastUses = new Map();
    try {
      await storeUsage(this.#database, rows, callers, lastUses);
    } catch (error) {
      this.#log.warn({ error: safeErrorFields(error) }, 'the usage of connections could not be stored yet');
      this.#rows = merge(rows, this.#rows);
      this.#callers = merge(callers, this.#callers);
      for (const [key, lastUse] of lastUses)
        if (!this.#lastUses.get(key)?.at) this.#lastUses.set(key, lastUse);
    }
  }
}

/** Adds counts to older ones of the same keys. */
function merge<Row extends Partial<UsageRow & CallerRow>>(
  older: Map<string, Row>,
  newer: ReadonlyMap<string, Row>,
): Map<string, Row> {
  for (const [key, row] of newer) {
    const sum = older.get(key);
    if (!sum) {
      older.set(key, row);
      continue;
    }
    for (const name of ['calls', 'failedCalls', 'bytesUp', 'bytesDown'] as const) {
      const added = row[name];
      if (added !== undefined) sum[name] = (sum[name] ?? 0) + added;
    }
    if (row.lastUsedAt) sum.lastUsedAt = row.lastUsedAt;
    const { durations } = sum;
    if (!durations) continue;
    for (const [bucket, count] of (row.durations ?? []).entries()) increment(durations, bucket, count);
  }
  return older;
}

function increment(counts: number[], index: number, by: number): void {
  while (counts.length <= index) counts.push(0);
  counts[index] = (counts[index] ?? 0) + by;
}
