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

/** What a server tells about a bucket, and what it asks for. */
export interface BudgetReport {
  serverId: string;
  /** The part of the limit that may be spent, in percent. */
  share: number;
  /** The permits that it asks for. */
  wanted: number;
  /** The number of callers that wait for a permit. */
  callers: number;
  held: readonly HeldPermits[];
  observation?: LimitObservation | undefined;
  /** Permits in `carried`, by the window in which the app counted them. */
  settled: readonly { windowId: number; reset: number; permits: number }[];
  blockedUntil: number;
  /** Whether a response stated no limit. */
  isUnmetered: boolean;
}

/** The answer to a report. */
export interface Lease {
  windowId: number;
  permits: number;
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
/** After which time other requests may be sent if the app has not answered the first ones. */
const probeWindowMs = 5_000;
/** The earlier requests without an answer that may be in the window of which the app states the limit. */
const maxUnansweredProbes = 48;
/** The assumed length of a window until the app has stated its end. */
const assumedWindowMs = 60_000;
/** The pause before a server asks again while the window is provisional. */
const provisionalRetryMs = 250;
/** How long a new window keeps permits for servers whose callers have waited since the last one. */
const reservationMs = 1_000;
/** How long requests are not counted after a response that stated no limit. */
const unmeteredMs = 10_000;
/** How long a server may use a lease without asking again. Then it hears of blocks by others. */
const leaseMs = 2_000;
/** The same for permits that the app may count in the next window, so that they do not reach the one after it. */
const carriedLeaseMs = 1_000;
/** A lease is at most this part of what is left, so that little is left unused near the end. */
const leaseParts = 16;

/** A bucket of which nothing is known. */
export const unknownBudget: BudgetState = {
  ...{ windowId: 0, windowStart: 0, windowEnd: 0, closingAt: 0, reset: null, lastReset: 0 },
  ...{ limit: null, spent: 0, carried: 0, others: 0, blockedUntil: 0, unmeteredUntil: 0, waiting: {} },
};

/**
 * Applies the report of a server, and grants it permits. In each window of the app, servers together use at most the share,
 * and at most what others have left of the limit.
 */
export function exchange(
  known: BudgetState,
  report: BudgetReport,
  now: number,
): { state: BudgetState; lease: Lease } {
  let state = now < known.windowEnd ? known : openWindow(known, now);
  for (const held of report.held) state = account(state, held, now);
  for (const settled of report.settled) state = settle(state, settled);
  if (report.observation) state = observe(state, report.observation, now);
  const blockedUntil = Math.max(state.blockedUntil, report.blockedUntil);
  if (report.isUnmetered && state.limit === null)
    state = { ...state, carried: 0, unmeteredUntil: now + unmeteredMs };
  return grant({ ...state, blockedUntil }, report, now);
}

/** Whether the budget does not count requests now. */
export function isUnmetered({ limit, unmeteredUntil }: BudgetState, now: number): boolean {
  return limit === null && now < unmeteredUntil;
}

/** The requests that all servers may send in a window. */
export function getAllowance({ limit, others }: BudgetState, share: number): number {
  if (limit === null) return maxProbes;
  return Math.min(Math.max(1, Math.floor((limit * share) / 100)), limit - others);
}

function openWindow(state: BudgetState, now: number): BudgetState {
  const { limit, windowId, reset, lastReset, spent, carried } = state;
  const isKnown = limit !== null;
  return {
    ...state,
    windowId: windowId + 1,
    windowStart: now,
    windowEnd: now + (isKnown ? assumedWindowMs : probeWindowMs),
    // Until the app has stated its window, each request may be the last one of it.
    closingAt: now,
    reset: null,
    lastReset: reset ?? lastReset,
    spent: isKnown ? carried : 0,
    carried: isKnown ? 0 : Math.min(carried + spent, maxUnansweredProbes),
    others: 0,
  };
}

/** Whether the app may count a request of now in the next window. */
function isClosing({ closingAt }: BudgetState, now: number): boolean {
  return now >= closingAt;
}

function account(state: BudgetState, held: HeldPermits, now: number): BudgetState {
  const { permits, isCarried, isKept } = held;
  const isOfThisWindow = held.windowId === state.windowId;
  if (isKept) {
    const isNewlyCarried = isOfThisWindow && !isCarried && state.limit !== null && isClosing(state, now);
    return isNewlyCarried ? { ...state, carried: state.carried + permits } : state;
  }
  if (isOfThisWindow) {
    const carried = isCarried ? Math.max(0, state.carried - permits) : state.carried;
    return { ...state, spent: Math.max(0, state.spent - permits), carried };
  }
  const wasCarriedOver = isCarried && held.windowId === state.windowId - 1;
  return wasCarriedOver ? { ...state, spent: Math.max(0, state.spent - permits) } : state;
}

/** Counts permits only in the window in which the app counted them. */
function settle(
  state: BudgetState,
  { windowId, reset, permits }: BudgetReport['settled'][number],
): BudgetState {
  if (windowId === state.windowId && (state.reset === null || state.reset === reset))
    return { ...state, carried: Math.max(0, state.carried - permits) };
  if (windowId === state.windowId - 1 && reset === state.lastReset)
    return { ...state, spent: Math.max(0, state.spent - permits) };
  return state;
}

function observe(state: BudgetState, observed: LimitObservation, now: number): BudgetState {
  const { limit, remaining, reset, windowEnd, closingAt } = observed;
  const used = Math.max(0, limit - remaining);
  if (state.limit === null) {
    // The app may count all earlier requests in this window.
    const spent = state.spent + state.carried;
    const others = Math.max(0, used - spent);
    return { ...state, limit, reset, windowEnd, closingAt, spent, carried: state.spent, others };
  }
  if (windowEnd <= now || reset <= state.lastReset || reset < (state.reset ?? 0)) return state;
  const isNext = state.reset !== null && reset > state.reset && isClosing(state, now);
  const window = isNext ? openWindow(state, now) : state;
  const others = Math.max(window.others, used - window.spent);
  const observedNow = { ...window, limit, reset, others, windowEnd, closingAt };
  if (reset !== state.reset) return observedNow;
  // All responses of a window are right, so the narrowest time of its end is.
  return {
    ...observedNow,
    windowEnd: Math.min(state.windowEnd, windowEnd),
    closingAt: Math.max(state.closingAt, closingAt),
  };
}

function grant(
  state: BudgetState,
  { serverId, share, wanted, callers }: BudgetReport,
  now: number,
): { state: BudgetState; lease: Lease } {
  const { limit, windowId, windowStart, windowEnd, closingAt, reset, spent, carried, blockedUntil } = state;
  const isLast = isClosing(state, now);
  const isCarried = isLast && limit !== null;
  const isProvisional = reset === null;
  const base = { windowId, isCarried, isProvisional };
  const none = (retryAt: number) => ({ ...base, permits: 0, validUntil: now, retryAt });
  if (now < blockedUntil) return { state, lease: { ...none(blockedUntil), isProvisional: false } };
  if (isUnmetered(state, now)) return { state, lease: none(now) };

  const available = Math.max(0, getAllowance(state, share) - spent);
  const { mine, others, waiting } = readReservations(state, serverId, now);
  const shareOfMine = Math.max(1, Math.floor((available * mine) / (mine + others)));
  const fair = mine > 0 ? shareOfMine : Math.max(0, available - others);
  const size = limit === null ? available : Math.max(mine, Math.ceil(available / leaseParts));
  const permits = Math.min(available, fair, wanted, size);
  const unserved = limit === null ? 0 : callers - permits;
  const next: BudgetState = {
    ...state,
    spent: spent + permits,
    carried: isCarried ? carried + permits : carried,
    waiting: unserved > 0 ? { ...waiting, [serverId]: { callers: unserved, windowId } } : waiting,
  };
  if (permits === 0 && wanted > 0) {
    const isReserved = available > 0;
    const retryAt = isReserved
      ? windowStart + reservationMs
      : isProvisional
        ? now + provisionalRetryMs
        : windowEnd;
    return { state: next, lease: none(retryAt) };
  }
  const validUntil = isLast ? Math.min(now + carriedLeaseMs, windowEnd) : Math.min(now + leaseMs, closingAt);
  return { state: next, lease: { ...base, permits, validUntil, retryAt: now } };
}

/** Reads how many callers of this server and of others have waited for this window, and removes what is over. */
function readReservations(
  { waiting, windowId, windowStart }: BudgetState,
  serverId: string,
  now: number,
): { mine: number; others: number; waiting: BudgetState['waiting'] } {
  const isOpen = now < windowStart + reservationMs;
  const current = Object.entries(waiting).filter(([, since]) => isOpen || since.windowId === windowId);
  const reserved = current.filter(([, since]) => since.windowId < windowId);
  const count = (isMine: boolean) =>
    reserved
      .filter(([id]) => (id === serverId) === isMine)
      .reduce((sum, [, { callers }]) => sum + callers, 0);
  const ofOthers = current.filter(([id]) => id !== serverId);
  return { mine: count(true), others: count(false), waiting: Object.fromEntries(ofOthers) };
}
