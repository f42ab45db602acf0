import { setTimeout as sleep } from 'node:timers/promises';

/** The time after which the next attempt starts beside one that has not ended, in milliseconds. */
const patienceMs = 1_000;

/**
 * Starts attempts in their order: each when the one before has failed, or beside it when it takes longer than a second. While
 * an attempt neither succeeds nor fails, all are started again, because it may wait for something that is gone.
 *
 * @param timeoutMs the time during which attempts are started
 * @returns the first result
 * @throws the error of the first attempt if all have failed
 */
export async function firstSuccess<Result>(
  attempts: readonly (() => Promise<Result>)[],
  timeoutMs: number,
): Promise<Result> {
  const deadline = performance.now() + timeoutMs;
  const started: Promise<Result>[] = [];
  let pending = 0;
  let hasSucceeded = false;
  do {
    for (const attempt of attempts) {
      pending += 1;
      const current = attempt();
      started.push(current);
      const ended = current.then(
        () => {
          hasSucceeded = true;
        },
        () => {
          pending -= 1;
        },
      );
      const any = Promise.any(started).catch(() => undefined);
      await Promise.race([any, ended, sleep(patienceMs, undefined, { ref: false })]);
      if (hasSucceeded) return Promise.any(started);
    }
  } while (pending > 0 && performance.now() < deadline);
  try {
    return await Promise.any(started);
  } catch (error) {
    throw (error as AggregateError).errors[0];
  }
}
