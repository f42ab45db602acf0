import {
  type BudgetReport,
  type BudgetState,
  getAllowance,
  isClosing,
  isUnmetered,
  type Lease,
} from './budget-state.ts';

/** The pause before a server asks again while the window is provisional. */
const provisionalRetryMs = 250;
/** How long a new window keeps permits for servers whose callers have waited since the last one. */
const reservationMs = 1_000;
/** How long a server may use a lease without asking again. Then it hears of blocks by others. */
const leaseMs = 2_000;
/** The same for permits that the app may count in the next window, so that they do not reach the one after it. */
const carriedLeaseMs = 1_000;
/** A lease is at most this part of what is left, so that little is left unused near the end. */
const leaseParts = 16;

/** How long after a window a permit is kept for a check that has got none: it is tried again within this time. */
const keptMs = 900_000;
/** The fewest permits of a window of which one is kept. */
const minAllowance = 2;

/**
 * Grants a server permits of what is left of the share: first those for checks, then a part of the rest for its callers.
 */
export function grant(
  state: BudgetState,
  { serverId, share, wanted, callers, checks }: BudgetReport,
  now: number,
): { state: BudgetState; lease: Lease } {
  const { limit, windowId, windowStart, windowEnd, closingAt, reset, spent, carried, blockedUntil } = state;
  const isLast = isClosing(state, now);
  const isCarried = isLast && limit !== null;
  const isProvisional = reset === null;
  const base = { windowId, isCarried, isProvisional };
  const none = (retryAt: number) => ({ ...base, permits: 0, checks: 0, validUntil: now, retryAt });
  if (now < blockedUntil) {
    const next = checks > 0 ? { ...state, keptUntil: blockedUntil + keptMs } : state;
    return { state: next, lease: { ...none(blockedUntil), isProvisional: false } };
  }
  if (isUnmetered(state, now)) return { state, lease: none(now) };

  const allowance = getAllowance(state, share);
  const left = Math.max(0, allowance - spent);
  const forChecks = Math.min(left, checks);
  const keptUntil = checks === 0 ? (state.keptUntil ?? 0) : forChecks === checks ? 0 : windowEnd + keptMs;
  const isKept = checks === 0 && limit !== null && allowance >= minAllowance && now < keptUntil;
  const available = Math.max(0, left - forChecks - (isKept ? 1 : 0));
  const { mine, others, waiting } = readReservations(state, serverId, now);
  const shareOfMine = Math.max(1, Math.floor((available * mine) / (mine + others)));
  const fair = mine > 0 ? shareOfMine : Math.max(0, available - others);
  const size = limit === null ? available : Math.max(mine, Math.ceil(available / leaseParts));
  const permits = Math.min(available, fair, wanted, size);
  const unserved = limit === null ? 0 : callers - permits;
  const next: BudgetState = {
    ...state,
    spent: spent + permits + forChecks,
    carried: isCarried ? carried + permits + forChecks : carried,
    keptUntil,
    waiting: unserved > 0 ? { ...waiting, [serverId]: { callers: unserved, windowId } } : waiting,
  };
  if (permits + forChecks === 0 && wanted + checks > 0) {
    const isReserved = available > 0;
    const retryAt = isReserved
      ? windowStart + reservationMs
      : isProvisional
        ? now + provisionalRetryMs
        : windowEnd;
    return { state: next, lease: none(retryAt) };
  }
  const validUntil = isLast ? Math.min(now + carriedLeaseMs, windowEnd) : Math.min(now + leaseMs, closingAt);
  return { state: next, lease: { ...base, permits, checks: forChecks, validUntil, retryAt: now } };
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
