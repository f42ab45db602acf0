import { vi } from 'vitest';
import { synchroniseClock } from '../../src/common/clock.ts';

let following: NodeJS.Timeout | undefined;

/** Sets the clock of this process, and of the servers in it, ahead of the real time. It stands still. */
export function moveClock(ms: number): void {
  restoreClock();
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
  // Once a minute, servers set their clock by that of PostgreSQL, which nothing moves.
  following = setInterval(followProcess, 10);
}

/** Sets the clock back to the real time. */
export function restoreClock(): void {
  clearInterval(following);
  vi.useRealTimers();
  followProcess();
}

function followProcess(): void {
  synchroniseClock(Date.now(), Date.now());
}
