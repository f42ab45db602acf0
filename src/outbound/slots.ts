import { OutboundError } from './outbound-error.ts';

/**
 * The most exchanges with one host at a time. At the third of a second that a good answer takes, that is 190 a second,
 * more than Okta lets one of its organisations ask; a host that never answers can hold no more than these.
 */
export const maxPerHost = 64;

/** The most exchanges at a time. Each may hold 1 MiB of answer, so all of them hold 256 MiB at the very most. */
export const maxInAll = 256;

/** The exchanges of one client that are under way. */
export class Slots {
  readonly #timeoutMs: number;
  readonly #byHost = new Map<string, number>();
  #inAll = 0;

  /** @param timeoutMs how long an exchange may take */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Takes a place until it is disposed of. Nobody waits for one: where all are taken, most are held by hosts that do
   * not answer, and those who wait would be held up in their turn.
   *
   * @throws OutboundError `BUSY`, with when all that is under way now will be over
   */
  take(host: string): Disposable {
    const taken = this.#byHost.get(host) ?? 0;
    if (taken >= maxPerHost) throw this.#busy(`${maxPerHost} other requests are waiting for this host`);
    if (this.#inAll >= maxInAll) throw this.#busy(`${maxInAll} other requests are waiting for other hosts`);
    this.#inAll += 1;
    this.#byHost.set(host, taken + 1);
    return {
      [Symbol.dispose]: () => {
        this.#inAll -= 1;
        const left = (this.#byHost.get(host) ?? 0) - 1;
        if (left > 0) this.#byHost.set(host, left);
        else this.#byHost.delete(host);
      },
    };
  }

  #busy(clause: string): OutboundError {
    return new OutboundError('BUSY', clause, { retryAt: new Date(Date.now() + this.#timeoutMs) });
  }
}
