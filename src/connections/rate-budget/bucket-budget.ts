import type { App, AppRateLimits } from '../../apps/app.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { AppError } from '../../common/errors.ts';
import { type Logger, safeErrorFields } from '../../common/log.ts';
import type { Database } from '../../database/database.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import { type BudgetReport, exchange, isUnmetered, type LimitObservation } from './budget-state.ts';
import { type BudgetKey, changeBudget, readBudget, type StoredBudget } from './budget-store.ts';
import { FairQueue } from './fair-queue.ts';
import { type ObservedResponse, readObservation } from './read-observation.ts';
import { blockedError, noRoomError, spentError, unknownLimitError } from './refusals.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** The smallest number of permits that a server asks for in advance. */
const minBlock = 4;
/** After which time a lease is renewed in the background; it is valid for twice as long. */
const renewalMs = 1_000;
/** How long every caller waits for the app to state its limit, whatever its own deadline. */
const patienceMs = 5_000;

/** The right to send one request. */
export interface Permit {
  /** The window of the budget. Undefined if the request is not counted. */
  windowId: number | undefined;
  /** Whether the app may count it in the next window. */
  isCarried: boolean;
}

/** A caller's request for a permit. */
export interface PermitRequest {
  /** Unique in the organisation. */
  callerId: string;
  /** The part of the limit that may be spent, in percent. */
  share: number;
  /** Until when the caller waits, in milliseconds since the epoch. */
  deadline: number;
  /** Each of these ends the wait. */
  signals: readonly (AbortSignal | undefined)[];
}

interface Waiter extends PermitRequest {
  since: number;
  grant(permit: Permit): void;
  refuse(error: unknown): void;
}

interface HeldLease {
  windowId: number;
  permits: number;
  isCarried: boolean;
  validUntil: number;
  renewAt: number;
  /** At how many permits it is renewed before that. */
  renewBelow: number;
  /** Whether the server got all that it asked for. */
  isComplete: boolean;
}

/** What the budgets of a server share. */
export interface BudgetContext {
  database: Pick<Database, 'forOrganisation' | 'announce'>;
  log: Logger;
  /** Unique among the servers of the database. */
  serverId: string;
  room: WaitingRoom;
}

const notCounted: Permit = { windowId: undefined, isCarried: false };

/** The budget of a connection in one bucket, as one server sees it: its lease, and the callers that wait for permits. */
export class BucketBudget {
  readonly #context: BudgetContext;
  readonly #key: BudgetKey;
  readonly #app: App;
  readonly #rateLimits: AppRateLimits;
  readonly #changes: { count: number };
  readonly #queue = new FairQueue<Waiter>();
  #seenChanges = 0;
  #share = 0;
  #known: StoredBudget | undefined;
  #lease: HeldLease | undefined;
  /** The answer of the last exchange, if it had no permit. */
  #exhausted: { retryAt: number; recheckAt: number; isProvisional: boolean } | undefined;
  #blockedUntil = 0;
  #blockSize = minBlock;
  #exchanging: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  // For the next report.
  #observation: LimitObservation | undefined;
  #settled: { windowId: number; reset: number; permits: number }[] = [];
  #unreportedBlock = 0;
  #isUnmetered = false;

  /** @param changes counts what other servers have changed in the organisation */
  constructor(
    context: BudgetContext,
    key: BudgetKey,
    { app, rateLimits }: { app: App; rateLimits: AppRateLimits },
    changes: { count: number },
  ) {
    this.#context = context;
    this.#key = key;
    this.#app = app;
    this.#rateLimits = rateLimits;
    this.#changes = changes;
  }

  /**
   * Takes a permit from the lease of this server, or waits for one in turn with other callers.
   *
   * @throws AppError `UPSTREAM_RATE_LIMITED` if there will be none before the deadline
   * @throws OutboundError `ABORTED`
   */
  async take(request: PermitRequest): Promise<Permit> {
    this.#share = request.share;
    return (this.#queue.size === 0 ? this.#takeNow() : undefined) ?? this.#wait(request);
  }

  /**
   * Takes a permit for a request of this server itself, which is sent even if the share is spent.
   *
   * @throws AppError `UPSTREAM_RATE_LIMITED` while the app refuses requests
   */
  async takeForServer(share: number): Promise<Permit> {
    this.#share = share;
    const permit = this.#takeNow();
    if (permit) return permit;
    await this.#exchange();
    if (currentTimeMs() < this.#blockedUntil)
      throw blockedError(this.#app, this.#key.bucket, this.#blockedUntil);
    return this.#takeNow() ?? notCounted;
  }

  /**
   * Learns from the response to a request. A refusal is stored before this resolves, so that no server sends requests until it
   * is over.
   *
   * @returns the end of the refusal, in milliseconds since the epoch, if the app has refused the request
   */
  async observe(permit: Permit, response: ObservedResponse, sentAt: number): Promise<number | undefined> {
    const { limit, blockedUntil } = readObservation(response, this.#rateLimits, {
      sentAt,
      now: currentTimeMs(),
    });
    const state = this.#known?.state;
    if (limit) {
      if (permit.isCarried && permit.windowId !== undefined)
        this.#settled.push({ windowId: permit.windowId, reset: limit.reset, permits: 1 });
      this.#observation = latest(this.#observation, limit);
      if (this.#lease && limit.reset === state?.reset)
        this.#lease.permits = Math.min(this.#lease.permits, limit.remaining);
    } else if (blockedUntil === undefined && (state?.limit ?? null) === null) {
      this.#isUnmetered = true;
    }
    if (blockedUntil !== undefined) {
      await this.#block(blockedUntil);
      return blockedUntil;
    }
    const isNew = limit ? (state?.reset ?? null) === null : !this.#isUnmeteredNow(currentTimeMs());
    if (isNew && (limit || this.#isUnmetered)) this.#exchangeInBackground();
    return undefined;
  }

  /** Refuses all that wait. */
  close(error: AppError): void {
    clearTimeout(this.#timer);
    this.#refuse(() => true, error);
  }

  #takeNow(): Permit | undefined {
    const now = currentTimeMs();
    if (this.#seenChanges !== this.#changes.count || now < this.#blockedUntil) return undefined;
    if (this.#isUnmeteredNow(now)) return notCounted;
    const lease = this.#lease;
    if (!lease || lease.permits === 0 || now >= lease.validUntil) return undefined;
    lease.permits -= 1;
    const isLow = lease.permits < lease.renewBelow && !this.#exhausted;
    if (isLow || now >= lease.renewAt) this.#exchangeInBackground();
    return { windowId: lease.windowId, isCarried: lease.isCarried };
  }

  #isUnmeteredNow(now: number): boolean {
    return this.#known !== undefined && isUnmetered(this.#known.state, now);
  }

  #wait(request: PermitRequest): Promise<Permit> {
    const { callerId, signals } = request;
    if (signals.some((signal) => signal?.aborted)) throw aborted();
    const leave = this.#context.room.enter(this.#key.orgId, callerId);
    if (!leave) throw noRoomError(this.#app, new Date(currentTimeMs() + renewalMs));
    const { promise, resolve, reject } = Promise.withResolvers<Permit>();
    const waiter: Waiter = { ...request, since: currentTimeMs(), grant: resolve, refuse: reject };
    const abort = () => this.#queue.remove(waiter) && reject(aborted());
    for (const signal of signals) signal?.addEventListener('abort', abort, { once: true });
    this.#queue.add(waiter);
    this.#serve();
    return promise.finally(() => {
      for (const signal of signals) signal?.removeEventListener('abort', abort);
      leave();
    });
  }

  /** Gives permits to those that wait, in turn, and refuses those that will not get one in time. */
  #serve(): void {
    clearTimeout(this.#timer);
    while (this.#queue.size > 0) {
      const permit = this.#takeNow();
      if (!permit) break;
      this.#queue.takeNext()?.grant(permit);
    }
    if (this.#queue.size === 0 || this.#exchanging) return;
    const now = currentTimeMs();
    const pause = this.#findPause(now);
    if (!pause) {
      this.#exchangeInBackground();
      return;
    }
    const { retryAt, isProvisional, error } = pause;
    this.#refuse(
      ({ deadline, since }) =>
        isProvisional ? now >= Math.max(deadline, since + patienceMs) : deadline < retryAt,
      error,
    );
    if (this.#queue.size > 0) this.#timer = setTimeout(() => this.#serve(), Math.max(1, retryAt - now));
  }

  /** Returns until when there is no permit, as far as this server knows. */
  #findPause(now: number): { retryAt: number; isProvisional: boolean; error: AppError } | undefined {
    const { bucket } = this.#key;
    if (this.#seenChanges !== this.#changes.count) return undefined;
    if (now < this.#blockedUntil) {
      const retryAt = this.#blockedUntil;
      return { retryAt, isProvisional: false, error: blockedError(this.#app, bucket, retryAt) };
    }
    if (!this.#exhausted || now >= this.#exhausted.recheckAt) return undefined;
    const { retryAt, isProvisional } = this.#exhausted;
    if (isProvisional && this.#observation) return undefined;
    const limit = this.#known?.state.limit ?? null;
    const error =
      limit === null
        ? unknownLimitError(this.#app, bucket, retryAt)
        : spentError(this.#app, bucket, retryAt, { limit, share: this.#share });
    return { retryAt, isProvisional, error };
  }

  #refuse(isRefused: (waiter: Waiter) => boolean, error: unknown): void {
    for (const waiter of this.#queue.removeAll(isRefused)) waiter.refuse(error);
  }

  async #block(until: number): Promise<void> {
    this.#blockedUntil = Math.max(this.#blockedUntil, until);
    this.#unreportedBlock = this.#blockedUntil;
    const { database, log } = this.#context;
    const { orgId } = this.#key;
    try {
      // An exchange that runs already may have started without this block.
      while (this.#unreportedBlock > 0) await this.#exchange();
      database.announce(database.forOrganisation(orgId), orgId);
    } catch (error) {
      log.warn(
        { error: safeErrorFields(error) },
        'other servers could not be told of the rate limit of an app',
      );
    }
  }

  #exchangeInBackground(): void {
    // Those that wait have been refused with the error.
    this.#exchange().catch((error: unknown) => {
      this.#context.log.debug({ error: safeErrorFields(error) }, 'a rate budget could not be leased');
    });
  }

  /** Reports to the budget that all servers share, and leases permits. Concurrent calls share one exchange. */
  #exchange(): Promise<void> {
    this.#exchanging ??= this.#runExchange().then(
      () => {
        this.#exchanging = undefined;
        this.#serve();
      },
      (error: unknown) => {
        this.#exchanging = undefined;
        this.#refuse(() => true, error);
        throw error;
      },
    );
    return this.#exchanging;
  }

  async #runExchange(): Promise<void> {
    const { database } = this.#context;
    const isChanged = this.#seenChanges !== this.#changes.count;
    this.#seenChanges = this.#changes.count;
    const report = this.#takeReport(currentTimeMs());
    try {
      const known = isChanged ? await readBudget(database, this.#key) : this.#known;
      const { stored, result: lease } = await changeBudget(database, this.#key, known, (state) => {
        const exchanged = exchange(state, report, currentTimeMs());
        return { state: exchanged.state, result: exchanged.lease };
      });
      this.#known = stored;
      this.#blockedUntil = Math.max(this.#blockedUntil, stored.state.blockedUntil);
      this.#accept(lease, report.wanted);
    } catch (error) {
      // It is unknown what was stored. What was reported is lost, which spends too little rather than too much.
      this.#lease = undefined;
      this.#known = undefined;
      throw error;
    }
  }

  #takeReport(now: number): BudgetReport {
    const lease = this.#lease;
    const isKept = lease !== undefined && now < lease.validUntil;
    if (lease && !isKept) this.#blockSize = minBlock;
    else if (lease?.isComplete && now < lease.renewAt) this.#blockSize *= 2;
    const isKnown = (this.#known?.state.limit ?? null) !== null;
    const inHand = isKept ? lease.permits : 0;
    const report = {
      serverId: this.#context.serverId,
      share: this.#share,
      wanted: Math.max(0, this.#queue.size + (isKnown ? this.#blockSize : 0) - inHand),
      callers: this.#queue.countCallers(({ deadline }) => deadline > now),
      held: lease && lease.permits > 0 ? { ...lease, isKept } : undefined,
      observation: this.#observation,
      settled: this.#settled,
      blockedUntil: this.#unreportedBlock,
      isUnmetered: this.#isUnmetered,
    };
    if (!isKept) this.#lease = undefined;
    this.#observation = undefined;
    this.#settled = [];
    this.#unreportedBlock = 0;
    this.#isUnmetered = false;
    return report;
  }

  #accept(lease: ReturnType<typeof exchange>['lease'], wanted: number): void {
    const now = currentTimeMs();
    const { windowId, isCarried, permits, retryAt, isProvisional } = lease;
    const held = this.#lease?.windowId === windowId ? this.#lease : undefined;
    const validUntil = permits > 0 ? lease.validUntil : (held?.validUntil ?? now);
    const all = permits + (held?.permits ?? 0);
    this.#lease = {
      windowId,
      permits: all,
      isCarried,
      validUntil,
      renewAt: Math.min(validUntil, now + renewalMs),
      renewBelow: Math.floor(all / 4),
      isComplete: permits > 0 && permits === wanted,
    };
    const recheckAt = Math.min(retryAt, now + renewalMs);
    this.#exhausted = permits === 0 && wanted > 0 ? { retryAt, recheckAt, isProvisional } : undefined;
  }
}

/** Of the same window, the response with fewer requests left is the later one. */
function latest(one: LimitObservation | undefined, other: LimitObservation): LimitObservation {
  if (!one || other.reset > one.reset) return other;
  if (other.reset < one.reset) return one;
  return {
    ...(other.remaining < one.remaining ? other : one),
    windowEnd: Math.min(one.windowEnd, other.windowEnd),
    closingAt: Math.max(one.closingAt, other.closingAt),
  };
}

function aborted(): OutboundError {
  return new OutboundError('ABORTED', 'the request was aborted');
}
