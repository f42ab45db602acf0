import type { App } from '../../apps/app.ts';
import type { AppRateLimits } from '../../apps/use.ts';
import { currentTimeMs } from '../../common/clock.ts';
import type { AppError } from '../../common/errors.ts';
import { type Logger, safeErrorFields } from '../../common/log.ts';
import type { Database } from '../../database/database.ts';
import type { BudgetKey } from './budget-store.ts';
import { notCounted, type Pause, type Permit, type PermitRequest } from './permit.ts';
import { type ObservedResponse, readObservation } from './read-observation.ts';
import { measuringRefusals, pauseError } from './refusals.ts';
import { ServerLease } from './server-lease.ts';
import { roomRetryMs, WaitingRequests } from './waiting-requests.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** How long every caller waits for the app to state its limit, whatever its own deadline. */
const patienceMs = 5_000;
/** How often a check asks for a permit that has come too late. */
const maxCheckAttempts = 3;

/** What the budgets of a server share. */
export interface BudgetContext {
  database: Pick<Database, 'forOrganisation' | 'announce'>;
  log: Logger;
  /** Unique among the servers of the database. */
  serverId: string;
  room: WaitingRoom;
}

/** The budget of a connection in one bucket, as one server sees it: its lease, and the callers that wait for permits. */
export class BucketBudget {
  readonly #context: BudgetContext;
  readonly #key: BudgetKey;
  readonly #app: App;
  readonly #rateLimits: AppRateLimits;
  readonly #lease: ServerLease;
  readonly #waiting: WaitingRequests;
  #share = 0;
  /** The checks that ask for a permit. */
  #checks = 0;
  #exchanging: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

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
    this.#lease = new ServerLease(context, key, changes);
    this.#waiting = new WaitingRequests(context.room, key.orgId, app);
  }

  /**
   * Takes a permit from the lease of this server, or waits for one in turn with other callers.
   *
   * @throws AppError `UPSTREAM_RATE_LIMITED` if there will be none before the deadline
   * @throws OutboundError `ABORTED`
   */
  take(request: PermitRequest): Permit | Promise<Permit> {
    this.#share = request.share;
    const permit = this.#waiting.size === 0 ? this.#takeNow() : undefined;
    return permit ?? measuringRefusals(() => this.#waiting.wait(request, () => this.#serve()));
  }

  /**
   * Takes a permit for a request of this server itself, which is sent even if the share is spent.
   *
   * @returns undefined if it is spent
   * @throws AppError `UPSTREAM_RATE_LIMITED` while the app refuses requests
   */
  async takeForServer(share: number): Promise<Permit | undefined> {
    this.#share = share;
    const permit = this.#takeNow();
    if (permit) return permit;
    await this.#exchangeAnew(1);
    return measuringRefusals(async () => {
      const pause = this.#lease.findPause(currentTimeMs());
      if (pause?.isBlocked) throw this.#toError(pause);
      return this.#takeNow();
    });
  }

  /**
   * Takes a permit for a check of the schedule. If the share is spent, one permit of each further window is kept for the next
   * attempt, so that callers who always spend the share do not put checks off for ever.
   *
   * @throws AppError `UPSTREAM_RATE_LIMITED` if there is none now
   */
  async takeForCheck(share: number): Promise<Permit> {
    this.#share = share;
    const permit = this.#waiting.size === 0 ? this.#takeNow() : undefined;
    if (permit) return permit;
    for (let attempt = 1; attempt <= maxCheckAttempts; attempt += 1) {
      const kept = await this.#exchangeForCheck();
      if (kept) return kept;
      // Otherwise the permit came too late, which says nothing about the share.
      if (this.#lease.findPause(currentTimeMs())) break;
    }
    return measuringRefusals(async () => {
      const now = currentTimeMs();
      const retryAt = now + roomRetryMs;
      const pause = { retryAt, isBlocked: false, limit: null, ...this.#lease.findPause(now) };
      throw this.#toError(pause);
    });
  }

  async #exchangeForCheck(): Promise<Permit | undefined> {
    this.#checks += 1;
    try {
      await this.#exchangeAnew();
    } finally {
      this.#checks -= 1;
    }
    return this.#lease.takeForCheck(currentTimeMs());
  }

  /**
   * Learns from the response to a request. A refusal is stored before this resolves, so that no server sends requests until it
   * is over.
   *
   * @param permit undefined if the request had none
   * @param sentAt when the request was sent, in milliseconds since the epoch
   * @returns the end of the refusal, if the app has refused the request
   */
  observe(
    permit: Permit | undefined,
    response: ObservedResponse,
    sentAt: number,
  ): undefined | Promise<number> {
    const now = currentTimeMs();
    const observation = readObservation(response, this.#rateLimits, { sentAt, now });
    const isUrgent = this.#lease.learn(permit ?? notCounted, observation, now);
    const { blockedUntil } = observation;
    if (blockedUntil !== undefined) return this.#reportBlock().then(() => blockedUntil);
    if (isUrgent) this.#exchangeInBackground();
    return undefined;
  }

  /** Learns from the response to a request for a connection that is not stored yet. Only this server knows it until it exchanges. */
  countUnleased(response: ObservedResponse, sentAt: number): void {
    this.#lease.countUnleased(readObservation(response, this.#rateLimits, { sentAt, now: currentTimeMs() }));
  }

  /** Takes back the permit of a request that was not sent, for another one. */
  giveBack(permit: Permit): void {
    this.#lease.giveBack(permit);
    this.#serve();
  }

  /** Refuses all that wait. */
  close(error: AppError): void {
    clearTimeout(this.#timer);
    this.#waiting.refuse(() => true, error);
  }

  #takeNow(): Permit | undefined {
    const now = currentTimeMs();
    const permit = this.#lease.take(now);
    if (permit && this.#lease.isDue(now)) this.#exchangeInBackground();
    return permit;
  }

  /** Gives permits to those that wait, in turn, and refuses those that will not get one in time. */
  #serve(): void {
    clearTimeout(this.#timer);
    while (this.#waiting.size > 0) {
      const permit = this.#takeNow();
      if (!permit) break;
      this.#waiting.grantNext(permit);
    }
    if (this.#waiting.size === 0 || this.#exchanging) return;
    const now = currentTimeMs();
    const pause = this.#lease.findPause(now);
    if (!pause) {
      this.#exchangeInBackground();
      return;
    }
    const { retryAt, isProvisional } = pause;
    this.#waiting.refuse(
      ({ deadline, since }) =>
        isProvisional ? now >= Math.max(deadline, since + patienceMs) : deadline < retryAt,
      this.#toError(pause),
    );
    if (this.#waiting.size > 0) this.#timer = setTimeout(() => this.#serve(), Math.max(1, retryAt - now));
  }

  async #reportBlock(): Promise<void> {
    const { database, log } = this.#context;
    const { orgId } = this.#key;
    try {
      // An exchange that runs already may have started without this block.
      while (this.#lease.hasUnreportedBlock) await this.#exchange();
      database.announce(database.forOrganisation(orgId), orgId);
    } catch (error) {
      log.warn(
        { error: safeErrorFields(error) },
        'other servers could not be told of the rate limit of an app',
      );
    }
  }

  #toError(pause: Omit<Pause, 'isProvisional'>): AppError {
    return pauseError(this.#app, this.#key.bucket, pause, this.#share);
  }

  #exchangeInBackground(): void {
    // Those that wait have been refused with the error.
    this.#exchange().catch((error: unknown) => {
      this.#context.log.debug({ error: safeErrorFields(error) }, 'a rate budget could not be leased');
    });
  }

  /**
   * Reports to the budget that all servers share, and leases permits. Concurrent calls share one exchange.
   *
   * @param own the requests of this server itself that need a permit: while the limit is unknown, there are none in advance
   */
  #exchange(own = 0): Promise<void> {
    this.#exchanging ??= this.#lease.exchange(this.#measureDemand(own)).then(
      () => {
        this.#exchanging = undefined;
        this.#serve();
      },
      (error: unknown) => {
        this.#exchanging = undefined;
        this.#waiting.refuse(() => true, error);
        throw error;
      },
    );
    return this.#exchanging;
  }

  /** As `#exchange`, after the one that is running, which has not asked for the permit of this call. */
  async #exchangeAnew(own?: number): Promise<void> {
    if (this.#exchanging) await this.#exchange();
    await this.#exchange(own);
  }

  #measureDemand(own: number) {
    const now = currentTimeMs();
    const callers = this.#waiting.countCallers(({ deadline }) => deadline > now);
    return { share: this.#share, waiting: this.#waiting.size + own, callers, checks: this.#checks };
  }
}
