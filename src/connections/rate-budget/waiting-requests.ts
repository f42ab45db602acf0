import type { App } from '../../apps/app.ts';
import { currentTimeMs } from '../../common/clock.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { Permit, PermitRequest } from './permit.ts';
import { noRoomError } from './refusals.ts';
import { RoundRobinQueue } from './round-robin-queue.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** After which time a request may find room to wait. */
export const roomRetryMs = 1_000;

/** A request that waits for a permit. */
interface Waiter extends PermitRequest {
  since: number;
  grant(permit: Permit): void;
  refuse(error: unknown): void;
}

/** The requests of a server that wait for permits of one budget. Callers take turns. */
export class WaitingRequests {
  readonly #room: WaitingRoom;
  readonly #orgId: string;
  readonly #app: App;
  readonly #queue = new RoundRobinQueue<Waiter>();

  constructor(room: WaitingRoom, orgId: string, app: App) {
    this.#room = room;
    this.#orgId = orgId;
    this.#app = app;
  }

  get size(): number {
    return this.#queue.size;
  }

  /**
   * Waits until the request is granted or refused.
   *
   * @param onAdded called once the request waits
   * @throws AppError `UPSTREAM_RATE_LIMITED` if too many requests wait
   * @throws OutboundError `ABORTED`
   */
  async wait(request: PermitRequest, onAdded: () => void): Promise<Permit> {
    const { callerId, signals } = request;
    if (signals.some((signal) => signal?.aborted)) throw aborted();
    const leave = this.#room.enter(this.#orgId, callerId);
    if (!leave) throw noRoomError(this.#app, new Date(currentTimeMs() + roomRetryMs));
    const { promise, resolve, reject } = Promise.withResolvers<Permit>();
    const waiter: Waiter = { ...request, since: currentTimeMs(), grant: resolve, refuse: reject };
    const abort = () => this.#queue.remove(waiter) && reject(aborted());
    for (const signal of signals) signal?.addEventListener('abort', abort, { once: true });
    this.#queue.add(waiter);
    onAdded();
    return promise.finally(() => {
      for (const signal of signals) signal?.removeEventListener('abort', abort);
      leave();
    });
  }

  /** Grants the first request of the caller whose turn it is. */
  grantNext(permit: Permit): void {
    this.#queue.takeNext()?.grant(permit);
  }

  /** Refuses the requests that meet a condition. */
  refuse(isRefused: (waiter: Waiter) => boolean, error: unknown): void {
    for (const waiter of this.#queue.removeAll(isRefused)) waiter.refuse(error);
  }

  /** The number of callers with a request that meets a condition. */
  countCallers(isCounted: (waiter: Waiter) => boolean): number {
    return this.#queue.countCallers(isCounted);
  }
}

function aborted(): OutboundError {
  return new OutboundError('ABORTED', 'the request was aborted');
}
