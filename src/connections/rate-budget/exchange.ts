import {
  type BudgetReport,
  type BudgetState,
  type HeldPermits,
  isClosing,
  type Lease,
  type LimitObservation,
  type UnleasedRequests,
} from './budget-state.ts';
import { grant } from './grant-lease.ts';

/** After which time other requests may be sent if the app has not answered the first ones. */
const probeWindowMs = 5_000;
/** The earlier requests without an answer that may be in the window of which the app states the limit. */
const maxUnansweredProbes = 48;
/** The assumed length of a window until the app has stated its end. */
const assumedWindowMs = 60_000;
/** How long requests are not counted after a response that stated no limit. */
const unmeteredMs = 10_000;

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
  for (const sent of report.unleased) state = countUnleased(state, sent);
  const blockedUntil = Math.max(state.blockedUntil, report.blockedUntil);
  if (report.isUnmetered && state.limit === null)
    state = { ...state, carried: 0, unmeteredUntil: now + unmeteredMs };
  return grant({ ...state, blockedUntil }, report, now);
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

/** Counts requests of the connection as such, which the observation has taken for requests of others. */
function countUnleased(state: BudgetState, { reset, requests }: UnleasedRequests): BudgetState {
  if (reset !== state.reset) return state;
  return { ...state, spent: state.spent + requests, others: Math.max(0, state.others - requests) };
}

function observe(state: BudgetState, observed: LimitObservation, now: number): BudgetState {
  const { limit, remaining, reset, windowEnd, closingAt } = observed;
  const used = Math.max(0, limit - remaining);
  // Of a connection that was created and not used at once.
  if (windowEnd <= now) return state;
  if (state.limit === null) {
    // The app may count all earlier requests in this window.
    const spent = state.spent + state.carried;
    const others = Math.max(0, used - spent);
    return { ...state, limit, reset, windowEnd, closingAt, spent, carried: state.spent, others };
  }
  if (reset <= state.lastReset || reset < (state.reset ?? 0)) return state;
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
