import { currentTimeMs } from '../common/clock.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { storeWithEvents } from './audited-change.ts';
import {
  type AuditDeps,
  type AuditEventInput,
  type RecordedEvent,
  withRequestContext,
} from './hash-chain.ts';

/** The maximum number of different refusals per caller that have their own events in a window. */
export const maxRefusalsOfCaller = 20;

/** The same per organisation. */
export const maxRefusalsOfOrganisation = 100;

/** The maximum number of different refusals that a server counts at a time. Others are only logged. */
const maxEntries = 10_000;

/** Identical refusals. */
interface Entry {
  event: RecordedEvent;
  /** The number of refusals that are not yet recorded. */
  count: number;
  /** The end of the window, in milliseconds since the epoch. */
  until: number;
  /** The caller and the organisation whose limits it counts towards. */
  owners: readonly string[];
}

/**
 * Records refusals in the audit trail. The first refusal is recorded at once. Identical ones, with the same caller,
 * organisation, action, outcome and object, are counted and recorded as one event per window. Beyond the limits of a caller
 * or of its organisation, refusals with the same action and outcome are recorded as one event per window.
 */
export class RefusalRecorder {
  readonly #deps: AuditDeps & { log: Logger };
  readonly #windowMs: number;
  /** Ordered by the end of the window. */
  readonly #entries = new Map<string, Entry>();
  /** The number of entries of each owner. */
  readonly #entryCounts = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #flushing = Promise.resolve();

  /** @param windowMs the length of a window in milliseconds */
  constructor(deps: AuditDeps & { log: Logger }, windowMs: number) {
    this.#deps = deps;
    this.#windowMs = windowMs;
    this.#timer = setInterval(() => this.#flush(currentTimeMs()), Math.min(windowMs, 1_000)).unref();
  }

  /**
   * Records the first refusal of its kind at once, and counts further ones.
   *
   * @param origin the client address, if refusals of different addresses are different
   */
  async record(refusal: AuditEventInput, origin?: string): Promise<void> {
    const event = withRequestContext(refusal);
    const { orgId, keyId, subject, setupLinkId, action, outcome } = event;
    const caller = JSON.stringify([orgId, keyId, subject, setupLinkId, origin]);
    const { connectionId, connectionName, projectId, apiKeyId, targetName } = event;
    const object = [connectionId, connectionName, projectId, apiKeyId, targetName];
    const key = JSON.stringify([caller, action, outcome, object]);
    if (this.#count(key, event)) return;
    if (!this.#isBelowLimit(orgId, maxRefusalsOfOrganisation)) {
      const summary = { orgId, keyId: null, subject: null, action, outcome };
      return this.#summarise(JSON.stringify([orgId, action, outcome]), summary, event, []);
    }
    if (!this.#isBelowLimit(caller, maxRefusalsOfCaller)) {
      const summary = { orgId, keyId, subject, setupLinkId, action, outcome };
      return this.#summarise(JSON.stringify([caller, action, outcome]), summary, event, [orgId]);
    }
    this.#add(key, { event, count: 0, until: currentTimeMs() + this.#windowMs, owners: [caller, orgId] });
    try {
      await this.#write(orgId, [event]);
    } catch (error) {
      // The event was not written, so the next refusal is the first of its kind.
      this.#delete(key);
      throw error;
    }
  }

  /** Records the remaining counts and stops. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#flush(Number.POSITIVE_INFINITY);
    await this.#flushing;
  }

  #summarise(
    key: string,
    event: Omit<RecordedEvent, 'address' | 'requestId'>,
    last: RecordedEvent,
    owners: string[],
  ): void {
    const { address, requestId } = last;
    if (this.#count(key, last) || this.#entries.size >= maxEntries) return;
    const until = currentTimeMs() + this.#windowMs;
    this.#add(key, { event: { ...event, address, requestId }, count: 1, until, owners });
  }

  /** @returns whether there is an entry for the key; if so, it is incremented */
  #count(key: string, { address, requestId }: RecordedEvent): boolean {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    entry.count += 1;
    entry.event = { ...entry.event, address, requestId };
    return true;
  }

  #isBelowLimit(owner: string, limit: number): boolean {
    return this.#entries.size < maxEntries && (this.#entryCounts.get(owner) ?? 0) < limit;
  }

  #add(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    for (const owner of entry.owners) this.#entryCounts.set(owner, (this.#entryCounts.get(owner) ?? 0) + 1);
  }

  #delete(key: string): void {
    for (const owner of this.#entries.get(key)?.owners ?? []) {
      const remaining = (this.#entryCounts.get(owner) ?? 1) - 1;
      if (remaining > 0) this.#entryCounts.set(owner, remaining);
      else this.#entryCounts.delete(owner);
    }
    this.#entries.delete(key);
  }

  /** Records the counts of windows that have ended, and deletes entries without a count. */
  #flush(now: number): void {
    const events: RecordedEvent[] = [];
    for (const [key, entry] of this.#entries) {
      if (entry.until > now) break;
      if (entry.count === 0) {
        this.#delete(key);
        continue;
      }
      events.push({ ...entry.event, count: entry.count });
      entry.count = 0;
      entry.until = currentTimeMs() + this.#windowMs;
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    for (const [orgId, eventsOfOrg] of Map.groupBy(events, (event) => event.orgId)) {
      this.#flushing = this.#flushing
        .then(() => this.#write(orgId, eventsOfOrg))
        .catch((error: unknown) => {
          const count = eventsOfOrg.reduce((sum, event) => sum + (event.count ?? 1), 0);
          this.#deps.log.error(
            { orgId, count, error: safeErrorFields(error) },
            'refusals could not be added to the audit trail',
          );
        });
    }
  }

  async #write(orgId: string, events: readonly RecordedEvent[]): Promise<void> {
    await storeWithEvents(this.#deps, orgId, { prepare: async () => ({ events, result: undefined }) });
  }
}
