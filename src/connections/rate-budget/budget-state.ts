/**
 * What all servers know of one bucket of an app's rate limits. Times are in milliseconds since the epoch, by the clock of
 * the database, except `reset` and `lastReset`: the app's own end of a window, by its clock, which identifies the window.
 */
export interface BudgetState {
  /** Plus 1 with each window. */
  windowId: number;
  windowStart: number;
  /** Until the app has stated the end of the window, an assumption. */
  windowEnd: number;
  /** From when on the app may count a request in the next window. */
  closingAt: number;
  /** Null until the app has stated it. */
  reset: number | null;
  /** The `reset` of the window before. */
  lastReset: number;
  /** The requests that the app allows in a window; null until it has stated them. */
  limit: number | null;
  /** The permits that servers have leased for this window. */
  spent: number;
  /** How many of these the app may count in the next window. */
  carried: number;
  /** The requests of others in this window, at least. */
  others: number;
  /** The app has refused requests until then. */
  blockedUntil: number;
  /** Until then, requests are not counted, because the app states no limit. */
  unmeteredUntil: number;
  /** Until then, one permit of each window is kept for a check that has got none. Absent in states of earlier versions. */
  keptUntil?: number;
  /** By server: how many of its callers wait, since which window. */
  waiting: Readonly<Record<string, { callers: number; windowId: number }>>;
}

/** A rate limit, as a response states it. */
export interface LimitObservation {
  limit: number;
  remaining: number;
  reset: number;
  /** The latest time of `reset` by the clock of the database, and a second. */
  windowEnd: number;
  /** The earliest time of `reset`, less the time that a request may be on its way. */
  closingAt: number;
}

/** Permits that a server has leased and not used. */
export interface HeldPermits {
  windowId: number;
  permits: number;
  /** Whether they are in `carried`. */
  isCarried: boolean;
  /** Whether the server still uses them; otherwise they are given back. */
  isKept: boolean;
}

/** Requests through a connection before it was stored. */
export interface UnleasedRequests {
  /** The end of the window of the app. */
  reset: number;
  requests: number;
}

/** What a server tells about a bucket, and what it asks for. */
export interface BudgetReport {
  serverId: string;
  /** The part of the limit that may be spent, in percent. */
  share: number;
  /** The permits that it asks for. */
  wanted: number;
  /** The number of callers that wait for a permit. */
  callers: number;
  /** The permits for checks that it asks for besides. */
  checks: number;
  held: readonly HeldPermits[];
  observation?: LimitObservation | undefined;
  /** Permits in `carried`, by the window in which the app counted them. */
  settled: readonly { windowId: number; reset: number; permits: number }[];
  /** The requests that were sent without a permit, by the window in which the app counted them. */
  unleased: readonly UnleasedRequests[];
  blockedUntil: number;
  /** Whether a response stated no limit. */
  isUnmetered: boolean;
}

/** The answer to a report. */
export interface Lease {
  windowId: number;
  permits: number;
  /** The permits for checks. */
  checks: number;
  isCarried: boolean;
  /** Until when the permits can be used. */
  validUntil: number;
  /** If there is no permit: when there can be one. */
  retryAt: number;
  /** Whether `retryAt` is only the time to ask again, because the app has not stated the window yet. */
  isProvisional: boolean;
}

/** The requests at a time while the limit is unknown. */
const maxProbes = 4;

/** The state of a bucket before any response. */
export const unknownBudget: BudgetState = {
  ...{ windowId: 0, windowStart: 0, windowEnd: 0, closingAt: 0, reset: null, lastReset: 0 },
  ...{ limit: null, spent: 0, carried: 0, others: 0, blockedUntil: 0, unmeteredUntil: 0, waiting: {} },
};

/** Whether the budget does not count requests now. */
export function isUnmetered({ limit, unmeteredUntil }: BudgetState, now: number): boolean {
  return limit === null && now < unmeteredUntil;
}

/** The requests that all servers may send in a window. */
export function getAllowance({ limit, others }: BudgetState, share: number): number {
  if (limit === null) return maxProbes;
  return Math.min(Math.max(1, Math.floor((limit * share) / 100)), limit - others);
}

/** Whether the app may count a request of now in the next window. */
export function isClosing({ closingAt }: BudgetState, now: number): boolean {
  return now >= closingAt;
}
