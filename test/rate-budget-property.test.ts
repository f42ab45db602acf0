import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BudgetReport,
  type BudgetState,
  type LimitObservation,
  unknownBudget,
} from '../src/connections/rate-budget/budget-state.ts';
import { exchange } from '../src/connections/rate-budget/exchange.ts';
import { times } from './testkit/stress.ts';

/** An app with windows of some seconds, which counts what arrives in each. */
class SimulatedApp {
  /** The requests in each window. */
  readonly counts = new Map<number, number>();
  readonly #limit: number;
  readonly #windowMs: number;
  /** How far its clock is ahead. */
  readonly #offsetMs: number;

  constructor(limit: number, windowMs: number, offsetMs: number) {
    this.#limit = limit;
    this.#windowMs = windowMs;
    this.#offsetMs = offsetMs;
  }

  /** Counts a request, and returns what its response says, if it arrives at a time. */
  receive(now: number): (arrivedAt: number) => LimitObservation {
    const time = now + this.#offsetMs;
    const reset = (Math.floor(time / this.#windowMs) + 1) * this.#windowMs;
    const count = (this.counts.get(reset) ?? 0) + 1;
    this.counts.set(reset, count);
    const remaining = Math.max(0, this.#limit - count);
    const date = Math.floor(time / 1_000) * 1_000;
    return (arrivedAt) => ({
      limit: this.#limit,
      remaining,
      reset,
      windowEnd: arrivedAt + (reset - date) + 1_000,
      closingAt: now + (reset - date) - 2_000,
    });
  }
}

/** A server with its lease and what it has not reported yet. */
class SimulatedServer {
  readonly #id: string;
  #lease = { windowId: -1, permits: 0, isCarried: false, validUntil: 0 };
  #observation: LimitObservation | undefined;
  #forCheck: { windowId: number; isCarried: boolean; validUntil: number } | undefined;
  #settled: BudgetReport['settled'][number][] = [];
  #returned: BudgetReport['held'][number][] = [];

  constructor(id: string) {
    this.#id = id;
  }

  /** Returns the permit of a request that is sent now. */
  take(now: number) {
    if (this.#lease.permits === 0 || now >= this.#lease.validUntil) return undefined;
    this.#lease.permits -= 1;
    return { ...this.#lease };
  }

  /** Returns the permit of a check, which callers of this server cannot take. */
  takeForCheck(now: number) {
    const permit = this.#forCheck;
    this.#forCheck = undefined;
    return permit && now < permit.validUntil ? permit : undefined;
  }

  /** The request was not sent. */
  giveBack({ windowId, isCarried }: { windowId: number; isCarried: boolean }): void {
    this.#returned.push({ windowId, isCarried, permits: 1, isKept: false });
  }

  answer(permit: { windowId: number; isCarried: boolean }, observation: LimitObservation): void {
    this.#observation = observation;
    const { reset } = observation;
    if (permit.isCarried) this.#settled.push({ windowId: permit.windowId, reset, permits: 1 });
  }

  exchange(state: BudgetState, wanted: number, now: number, checks = 0): BudgetState {
    const isKept = now < this.#lease.validUntil;
    const report: BudgetReport = {
      ...{ serverId: this.#id, share: 50, wanted, callers: Math.min(wanted, 3), checks },
      held: [...this.#returned, ...(this.#lease.permits > 0 ? [{ ...this.#lease, isKept }] : [])],
      ...{ observation: this.#observation, settled: this.#settled, unleased: [] },
      ...{ blockedUntil: 0, isUnmetered: false },
    };
    const kept = isKept ? this.#lease : undefined;
    const { state: next, lease } = exchange(state, report, now);
    if (lease.checks > 0) this.#forCheck = lease;
    const held = kept && kept.windowId === lease.windowId ? kept.permits : 0;
    const validUntil = lease.permits > 0 ? lease.validUntil : (kept?.validUntil ?? 0);
    this.#lease = { ...lease, permits: held + lease.permits, validUntil };
    this.#observation = undefined;
    this.#settled = [];
    this.#returned = [];
    return next;
  }
}

const step = fc.record({
  server: fc.nat(2),
  what: fc.oneof(
    { weight: 6, arbitrary: fc.constant('SEND' as const) },
    { weight: 6, arbitrary: fc.constant('ANSWER' as const) },
    { weight: 2, arbitrary: fc.constant('CHECK' as const) },
    { weight: 1, arbitrary: fc.constantFrom('EXCHANGE' as const, 'KILL' as const, 'FAIL' as const) },
  ),
  count: fc.integer({ min: 1, max: 8 }),
  afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 })),
});

describe('a rate budget, whatever the order in which servers lease, send, hear of responses and die', () => {
  it.each([
    ['lets through at most its share in each window of the app', false],
    ['is needed for that (self-check)', true],
  ])('%s', (_, isSelfCheck) => {
    const limit = 20;
    let most = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 60, maxLength: 200 }),
        fc.integer({ min: 5, max: 12 }),
        fc.integer({ min: -90_000, max: 90_000 }),
        (steps, windowSeconds, offsetMs) => {
          const app = new SimulatedApp(limit, windowSeconds * 1_000, offsetMs);
          const servers = ['a', 'b', 'c'].map((id) => new SimulatedServer(id));
          let state = unknownBudget;
          let now = 1_800_000_000_000;
          const unanswered: (() => void)[] = [];
          for (const { server: index, what, count, afterMs } of steps) {
            now += afterMs;
            const server = servers[index];
            if (!server) continue;
            if (what === 'EXCHANGE') state = server.exchange(state, count, now);
            if (what === 'KILL') servers[index] = new SimulatedServer(`${index} ${now}`);
            if (what === 'ANSWER') for (const answer of unanswered.splice(0, count)) answer();
            if (what === 'CHECK' && !isSelfCheck) {
              state = server.exchange(state, 0, now, 1);
              const permit = server.takeForCheck(now);
              const respond = permit && app.receive(now);
              if (permit && respond) unanswered.push(() => server.answer(permit, respond(now)));
            }
            // Some time after it was granted, and perhaps after others.
            for (let left = what === 'FAIL' ? count : 0; left > 0; left -= 1) {
              const permit = isSelfCheck ? undefined : server.take(now);
              if (permit) unanswered.push(() => server.giveBack(permit));
            }
            for (let left = what === 'SEND' ? count : 0; left > 0; left -= 1) {
              let permit = isSelfCheck ? { windowId: 0, isCarried: false } : server.take(now);
              if (!permit) state = server.exchange(state, left, now);
              permit ??= server.take(now);
              if (!permit) break;
              const respond = app.receive(now);
              unanswered.push(() => server.answer(permit, respond(now)));
            }
          }
          const mostHere = Math.max(0, ...app.counts.values());
          most = Math.max(most, mostHere);
          return isSelfCheck || mostHere <= limit / 2;
        },
      ),
      { numRuns: (isSelfCheck ? 20 : 1_000) * times },
    );
    // The search has come to the limit.
    if (!isSelfCheck) expect(most).toBe(limit / 2);
    else expect(most).toBeGreaterThan(limit / 2);
  });
});

describe('a rate budget whose share callers always spend', () => {
  const limit = 20;
  const observed = (now: number) => ({
    ...{ limit, remaining: limit, reset: now + 60_000 },
    ...{ windowEnd: now + 61_000, closingAt: now + 58_000 },
  });
  const ask = (state: BudgetState, now: number, asked: Partial<BudgetReport>) =>
    exchange(
      state,
      {
        ...{
          serverId: 'a',
          share: 50,
          wanted: 0,
          callers: 0,
          checks: 0,
          held: [],
          settled: [],
          unleased: [],
        },
        ...{ blockedUntil: 0, isUnmetered: false, ...asked },
      },
      now,
    );
  /** Lets the callers of a server lease all that they get. Returns the number. */
  function spend(state: BudgetState, now: number, serverId: string) {
    let [current, count] = [state, 0];
    for (;;) {
      const { state: next, lease } = ask(current, now, { serverId, wanted: 4, callers: 1 });
      current = next;
      if (lease.permits === 0) return { state: current, count };
      count += lease.permits;
    }
  }

  it('keeps one permit of the next window for a check that got none, on all servers, and then no more', () => {
    let now = 1_800_000_000_000;
    let state = ask(unknownBudget, now, { observation: observed(now) }).state;
    const first = spend(state, now, 'a');
    expect(first.count).toBe(10);
    const refused = ask(first.state, now, { checks: 1 });
    expect([refused.lease.checks, refused.lease.retryAt]).toEqual([0, now + 61_000]);
    const counts: number[] = [];
    state = refused.state;
    for (const checks of [0, 1, 0]) {
      now += 61_000;
      state = ask(state, now, { observation: observed(now) }).state;
      const one = spend(state, now, 'a');
      const two = spend(one.state, now, 'b');
      const check = ask(two.state, now, { serverId: 'b', checks });
      expect(check.lease.checks).toBe(checks);
      counts.push(one.count + two.count);
      state = check.state;
    }
    expect(counts).toEqual([9, 9, 10]);
  });

  it('keeps none of a share of one request, and none for a check that is given up', () => {
    let now = 1_800_000_000_000;
    const alone = { ...observed(now), limit: 2, remaining: 2 };
    const { state: small } = ask(unknownBudget, now, { observation: alone });
    const { state: spent } = spend(small, now, 'a');
    const refused = ask(spent, now, { checks: 1 });
    expect(refused.lease.checks).toBe(0);
    now += 61_000;
    const next = { ...observed(now), limit: 2, remaining: 2 };
    expect(spend(ask(refused.state, now, { observation: next }).state, now, 'a').count).toBe(1);

    const { state } = ask(unknownBudget, now, { observation: observed(now) });
    const late = ask(spend(state, now, 'a').state, now, { checks: 1 });
    now += 20 * 60_000;
    expect(spend(ask(late.state, now, { observation: observed(now) }).state, now, 'a').count).toBe(10);
  });
});
