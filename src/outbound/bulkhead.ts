import { currentTimeMs } from '../common/clock.ts';
import { OutboundError } from './outbound-error.ts';

/** The caller on whose behalf a request is sent. */
export interface Requester {
  orgId: string;
  /** Unique across organisations. */
  callerId: string;
}

/**
 * The maximum number of concurrent requests. Each can hold 128 kB of response while it is decompressed, so all of them
 * hold at most 32 MB.
 */
export const maxTotal = 256;

/** The maximum for one organisation: a quarter of all slots. */
export const maxPerOrganisation = 64;

/** The maximum for one caller: half of its organisation's. */
export const maxPerCaller = 32;

/**
 * The maximum for one host. At a third of a second for each response, this allows 190 requests per second, which is above
 * Okta's own rate limit for an organisation. A host that never responds holds no more than these slots.
 */
export const maxPerHost = 64;

/** The maximum for one organisation and host, so that one organisation cannot take all slots of a host. */
export const maxPerOrganisationAndHost = 48;

/** A slot of the bulkhead, held until each of its holders is disposed of. */
export interface Slot extends Disposable {
  /** Adds a holder: a connection attempt can outlive its aborted request. */
  hold(): Disposable;
}

interface Limit {
  key: string;
  max: number;
  /** The message of the error when the limit is reached. */
  message: string;
}

/** Limits the concurrent requests of an outbound client. */
export class Bulkhead {
  readonly #timeoutMs: number;
  readonly #counts = new Map<string, number>();

  /** @param timeoutMs the time limit of a request */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Acquires a slot or fails at once. There is no queue: when all slots are taken, most are held by hosts that do not
   * respond, so waiting would not help.
   *
   * @param requester absent for requests of the server itself
   * @throws OutboundError `BUSY`, with the time when all current requests have ended
   */
  acquire(host: string, requester?: Requester): Slot {
    const limits = limitsFor(host, requester);
    const full = limits.find(({ key, max }) => (this.#counts.get(key) ?? 0) >= max);
    if (full) {
      const retryAt = new Date(currentTimeMs() + this.#timeoutMs);
      throw new OutboundError('BUSY', full.message, { retryAt });
    }
    let holders = 0;
    const release = () => {
      holders -= 1;
      if (holders === 0) this.#count(limits, -1);
    };
    const hold = (): Disposable => {
      if (holders === 0) this.#count(limits, 1);
      holders += 1;
      let isHeld = true;
      return {
        [Symbol.dispose]: () => {
          if (isHeld) release();
          isHeld = false;
        },
      };
    };
    return { hold, ...hold() };
  }

  #count(limits: readonly Limit[], change: 1 | -1): void {
    for (const { key } of limits) {
      const count = (this.#counts.get(key) ?? 0) + change;
      if (count > 0) this.#counts.set(key, count);
      else this.#counts.delete(key);
    }
  }
}

function limitsFor(host: string, requester: Requester | undefined): readonly Limit[] {
  const limits = [
    {
      key: `host ${host}`,
      max: maxPerHost,
      message: `${maxPerHost} other requests are waiting for this host`,
    },
    { key: 'all', max: maxTotal, message: `${maxTotal} other requests are waiting for other hosts` },
  ];
  if (!requester) return limits;
  const { orgId, callerId } = requester;
  return [
    {
      key: `caller ${callerId}`,
      max: maxPerCaller,
      message: `${maxPerCaller} other requests of this API key or token are waiting for their hosts`,
    },
    {
      key: `organisation ${orgId} ${host}`,
      max: maxPerOrganisationAndHost,
      message: `${maxPerOrganisationAndHost} other requests of this organisation are waiting for this host`,
    },
    {
      key: `organisation ${orgId}`,
      max: maxPerOrganisation,
      message: `${maxPerOrganisation} other requests of this organisation are waiting for their hosts`,
    },
    ...limits,
  ];
}
