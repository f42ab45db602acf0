import { type Logger, safeErrorFields } from '../common/log.ts';
import {
  type AuditDeps,
  type AuditEventInput,
  appendEvents,
  type RecordedEvent,
  withRequestContext,
} from './hash-chain.ts';

/** How many different refusals of one caller have events of their own in a window. */
export const maxRefusalsOfCaller = 20;

/** The same for all callers of an organisation together. */
export const maxRefusalsOfOrganisation = 100;

/** How many different refusals one server counts at a time. Others are in the log alone. */
const maxEntries = 10_000;

/** Refusals that are alike. */
interface Entry {
  event: RecordedEvent;
  /** How many of them no event tells of yet. */
  count: number;
  /** When an event may tell of them, in milliseconds since 1970. */
  until: number;
  /** What bounds it: the caller and the organisation. */
  owners: readonly string[];
}

/**
 * Adds refusals to the audit trail. The first of a kind has its event at once. Those like it, which are of the same caller
 * and organisation, action, outcome and object, are counted, and one event a window tells how many there were. Beyond the
 * bounds of a caller or of its organisation, one event a window tells of all with the same action and outcome.
 */
export class RefusalRecorder {
  readonly #dependencies: AuditDeps & { log: Logger };
  readonly #windowMs: number;
  /** In the order in which they end. */
  readonly #entries = new Map<string, Entry>();
  /** How many entries each owner has. */
  readonly #owned = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #flushing = Promise.resolve();

  /** @param windowMs how long a window is, in milliseconds */
  constructor(dependencies: AuditDeps & { log: Logger }, windowMs: number) {
    this.#dependencies = dependencies;
    this.#windowMs = windowMs;
    this.#timer = setInterval(() => this.#flush(Date.now()), Math.min(windowMs, 1_000)).unref();
  }

  /**
   * Adds a refusal: in a transaction of its own if it is the first of its kind, and otherwise to a count.
   *
   * @param origin where it came from, if refusals from elsewhere are of another kind
   */
  async record(refusal: AuditEventInput, origin?: string): Promise<void> {
    const event = withRequestContext(refusal);
    const { orgId, keyId, subject, action, outcome } = event;
    const caller = JSON.stringify([orgId, keyId, subject, origin]);
    const { connectionId, connectionName, projectId, apiKeyId, targetName } = event;
    const object = [connectionId, connectionName, projectId, apiKeyId, targetName];
    const key = JSON.stringify([caller, action, outcome, object]);
    if (this.#count(key, event)) return;
    if (!this.#hasRoom(orgId, maxRefusalsOfOrganisation)) {
      const whole = { orgId, keyId: null, subject: null, action, outcome };
      return this.#summarise(JSON.stringify([orgId, action, outcome]), whole, event, []);
    }
    if (!this.#hasRoom(caller, maxRefusalsOfCaller)) {
      const whole = { orgId, keyId, subject, action, outcome };
      return this.#summarise(JSON.stringify([caller, action, outcome]), whole, event, [orgId]);
    }
    this.#add(key, { event, count: 0, until: Date.now() + this.#windowMs, owners: [caller, orgId] });
    try {
      await this.#write(orgId, [event]);
    } catch (error) {
      // No event tells of it after all, and so the next one is the first.
      this.#delete(key);
      throw error;
    }
  }

  /** Writes what was counted, and counts no more. */
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
    const until = Date.now() + this.#windowMs;
    this.#add(key, { event: { ...event, address, requestId }, count: 1, until, owners });
  }

  /** @returns whether there is something like it to count it with */
  #count(key: string, { address, requestId }: RecordedEvent): boolean {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    entry.count += 1;
    entry.event = { ...entry.event, address, requestId };
    return true;
  }

  #hasRoom(owner: string, most: number): boolean {
    return this.#entries.size < maxEntries && (this.#owned.get(owner) ?? 0) < most;
  }

  #add(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    for (const owner of entry.owners) this.#owned.set(owner, (this.#owned.get(owner) ?? 0) + 1);
  }

  #delete(key: string): void {
    for (const owner of this.#entries.get(key)?.owners ?? []) {
      const left = (this.#owned.get(owner) ?? 1) - 1;
      if (left > 0) this.#owned.set(owner, left);
      else this.#owned.delete(owner);
    }
    this.#entries.delete(key);
  }

  /** Tells of what was counted in windows that have ended by then; where nothing was, the kind is forgotten. */
  #flush(now: number): void {
    const counted: RecordedEvent[] = [];
    for (const [key, entry] of this.#entries) {
      if (entry.until > now) break;
      if (entry.count === 0) {
        this.#delete(key);
        continue;
      }
      counted.push({ ...entry.event, count: entry.count });
      entry.count = 0;
      entry.until = Date.now() + this.#windowMs;
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    for (const [orgId, events] of Map.groupBy(counted, (event) => event.orgId)) {
      this.#flushing = this.#flushing
        .then(() => this.#write(orgId, events))
        .catch((error: unknown) => {
          const count = events.reduce((sum, event) => sum + (event.count ?? 1), 0);
          this.#dependencies.log.error(
            { orgId, count, error: safeErrorFields(error) },
            'refusals could not be added to the audit trail',
          );
        });
    }
  }

  async #write(orgId: string, events: readonly RecordedEvent[]): Promise<void> {
    await this.#dependencies.database
      .forOrganisation(orgId)
      .transactional((em) => appendEvents(em, this.#dependencies, orgId, events));
  }
}
