import { currentTimeMs } from '../../common/clock.ts';
import type { Database } from '../../database/database.ts';
import {
  type BudgetReport,
  type HeldPermits,
  isUnmetered,
  type Lease,
  type LimitObservation,
  type UnleasedRequests,
} from './budget-state.ts';
import { type BudgetKey, changeBudget, readBudget, type StoredBudget } from './budget-store.ts';
import { exchange } from './exchange.ts';
import { notCounted, type Pause, type Permit } from './permit.ts';
import { latest, type Observation } from './read-observation.ts';

/** The smallest number of permits that a server asks for in advance. */
const minBlock = 4;
/** After which time a lease is renewed in the background; it is valid for twice as long. */
const renewalMs = 1_000;

/** What a server asks for. */
interface Demand {
  /** The part of the limit that may be spent, in percent. */
  share: number;
  waiting: number;
  callers: number;
  checks: number;
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

/** The permits of one bucket that a server has leased, and what it has learnt and not reported yet. */
export class ServerLease {
  readonly #database: Pick<Database, 'forOrganisation'>;
  readonly #key: BudgetKey;
  readonly #serverId: string;
  readonly #changes: { count: number };
  #seenChanges = 0;
  #known: StoredBudget | undefined;
  #lease: HeldLease | undefined;
  /** A permit for a check, which callers cannot take. */
  #checkPermit: { permit: Permit; validUntil: number } | undefined;
  /** The answer of the last exchange, if it had no permit. */
  #exhausted: { retryAt: number; recheckAt: number; isProvisional: boolean } | undefined;
  #blockedUntil = 0;
  #blockSize = minBlock;
  // For the next report.
  #observation: LimitObservation | undefined;
  #settled: { windowId: number; reset: number; permits: number }[] = [];
  #returned: HeldPermits[] = [];
  #unleased: UnleasedRequests[] = [];
  #unreportedBlock = 0;
  #isUnmetered = false;

  /** @param changes counts what other servers have changed in the organisation */
  constructor(
    { database, serverId }: { database: Pick<Database, 'forOrganisation'>; serverId: string },
    key: BudgetKey,
    changes: { count: number },
  ) {
    this.#database = database;
    this.#serverId = serverId;
    this.#key = key;
    this.#changes = changes;
  }

  /** Takes a permit, if there is one in memory. */
  take(now: number): Permit | undefined {
    if (this.#seenChanges !== this.#changes.count || now < this.#blockedUntil) return undefined;
    if (this.#isUnmeteredNow(now)) return notCounted;
    const lease = this.#lease;
    if (!lease || lease.permits === 0 || now >= lease.validUntil) return undefined;
    lease.permits -= 1;
    const isProbe = (this.#known?.state.limit ?? null) === null;
    return { windowId: lease.windowId, isCarried: lease.isCarried, isProbe };
  }

  /**
   * Takes the permit that the last exchange has got for a check. If it ended before the exchange did, because the database was slow, the
   * next exchange gives it back.
   */
  takeForCheck(now: number): Permit | undefined {
    const { permit, validUntil = 0 } = this.#checkPermit ?? {};
    this.#checkPermit = undefined;
    // Also one of a window that is not counted.
    if (this.#isUnmeteredNow(now)) return notCounted;
    if (permit && now >= validUntil) this.giveBack(permit);
    return permit && now < validUntil ? permit : undefined;
  }

  /** Takes back the permit of a request that was not sent. Others can have it after the next exchange. */
  giveBack({ windowId, isCarried }: Permit): void {
    if (windowId === undefined) return;
    const same = this.#returned.find((each) => each.windowId === windowId && each.isCarried === isCarried);
    if (same) same.permits += 1;
    else this.#returned.push({ windowId, isCarried, permits: 1, isKept: false });
  }

  /** Whether the lease should be renewed, so that the next requests need not wait. */
  isDue(now: number): boolean {
    const lease = this.#lease;
    if (!lease || this.#isUnmeteredNow(now)) return false;
    return now >= lease.renewAt || (lease.permits < lease.renewBelow && !this.#exhausted);
  }

  /** Returns until when there is no permit. Undefined if an exchange can tell. */
  findPause(now: number): Pause | undefined {
    if (this.#seenChanges !== this.#changes.count) return undefined;
    const limit = this.#known?.state.limit ?? null;
    if (now < this.#blockedUntil)
      return { retryAt: this.#blockedUntil, isProvisional: false, isBlocked: true, limit };
    if (this.#returned.length > 0) return undefined;
    if (!this.#exhausted || now >= this.#exhausted.recheckAt) return undefined;
    const { retryAt, isProvisional } = this.#exhausted;
    if (isProvisional && this.#observation) return undefined;
    return { retryAt, isProvisional, isBlocked: false, limit };
  }

  /**
   * Keeps what a response says for the next report.
   *
   * @returns whether that should be reported at once
   */
  learn({ windowId, isCarried }: Permit, { limit, blockedUntil }: Observation, now: number): boolean {
    const state = this.#known?.state;
    if (limit) {
      if (isCarried && windowId !== undefined)
        this.#settled.push({ windowId, reset: limit.reset, permits: 1 });
      this.#observation = latest(this.#observation, limit);
      if (this.#lease && limit.reset === state?.reset)
        this.#lease.permits = Math.min(this.#lease.permits, limit.remaining);
    }
    if (blockedUntil !== undefined) {
      this.#blockedUntil = Math.max(this.#blockedUntil, blockedUntil);
      this.#unreportedBlock = this.#blockedUntil;
      return true;
    }
    if (limit) return (state?.reset ?? null) === null;
    this.#isUnmetered = (state?.limit ?? null) === null;
    return this.#isUnmetered && !this.#isUnmeteredNow(now);
  }

  /** Keeps a request that was sent without a permit, because its connection was not stored yet, for the next report. */
  countUnleased({ limit }: Observation): void {
    if (!limit) return;
    this.#observation = latest(this.#observation, limit);
    const same = this.#unleased.find(({ reset }) => reset === limit.reset);
    if (same) same.requests += 1;
    else this.#unleased.push({ reset: limit.reset, requests: 1 });
  }

  /** Whether other servers do not know of a refusal yet. */
  get hasUnreportedBlock(): boolean {
    return this.#unreportedBlock > 0;
  }

  /**
   * Reports to the budget that all servers share, and leases permits.
   *
   * @param demand `waiting` requests, of `callers` that wait for longer than this exchange, and `checks`
   */
  async exchange(demand: Demand): Promise<void> {
    const isChanged = this.#seenChanges !== this.#changes.count;
    this.#seenChanges = this.#changes.count;
    const report = this.#takeReport(demand, currentTimeMs());
    try {
      const known = isChanged ? await readBudget(this.#database, this.#key) : this.#known;
      const { stored, result: lease } = await changeBudget(this.#database, this.#key, known, (state) => {
        const exchanged = exchange(state, report, currentTimeMs());
        return { state: exchanged.state, result: exchanged.lease };
      });
      this.#known = stored;
      this.#blockedUntil = Math.max(this.#blockedUntil, stored.state.blockedUntil);
      this.#accept(lease, report, currentTimeMs());
    } catch (error) {
      // It is unknown what was stored. What was reported is lost, which spends too little rather than too much.
      this.#lease = undefined;
      this.#known = undefined;
      throw error;
    }
  }

  #isUnmeteredNow(now: number): boolean {
    return this.#known !== undefined && isUnmetered(this.#known.state, now);
  }

  #takeReport({ share, waiting, callers, checks }: Demand, now: number): BudgetReport {
    const lease = this.#lease;
    const isKept = lease !== undefined && now < lease.validUntil;
    if (lease && !isKept) this.#blockSize = minBlock;
    else if (lease?.isComplete && now < lease.renewAt) this.#blockSize *= 2;
    const isKnown = (this.#known?.state.limit ?? null) !== null;
    const inHand = isKept ? lease.permits : 0;
    const report = {
      serverId: this.#serverId,
      share,
      wanted: Math.max(0, waiting + (isKnown ? this.#blockSize : 0) - inHand),
      callers,
      checks,
      held: lease && lease.permits > 0 ? [...this.#returned, { ...lease, isKept }] : this.#returned,
      observation: this.#observation,
      settled: this.#settled,
      unleased: this.#unleased,
      blockedUntil: this.#unreportedBlock,
      isUnmetered: this.#isUnmetered,
    };
    if (!isKept) this.#lease = undefined;
    this.#observation = undefined;
    this.#settled = [];
    this.#returned = [];
    this.#unleased = [];
    this.#unreportedBlock = 0;
    this.#isUnmetered = false;
    return report;
  }

  #accept(lease: Lease, { wanted, checks }: Pick<BudgetReport, 'wanted' | 'checks'>, now: number): void {
    const { windowId, isCarried, permits, retryAt, isProvisional } = lease;
    if (lease.checks > 0) {
      const permit = { windowId, isCarried, isProbe: (this.#known?.state.limit ?? null) === null };
      this.#checkPermit = { permit, validUntil: lease.validUntil };
    }
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
    const isRefused = permits + lease.checks === 0 && wanted + checks > 0;
    this.#exhausted = isRefused ? { retryAt, recheckAt, isProvisional } : undefined;
  }
}
