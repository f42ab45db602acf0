import { currentTimeMs } from '../common/clock.ts';
import { OutboundError } from './outbound-error.ts';

/** The caller on whose behalf a request is sent. */
export interface Requester {
  orgId: string;
  /** Unique across organisations. */
  callerId: string;
}

/** The maximum numbers of concurrent requests. */
export interface BulkheadLimits {
  total: number;
  /** For one organisation. */
  perOrganisation: number;
  /** For one caller. */
  perCaller: number;
  /** For one host. A host that never responds holds no more than these slots. */
  perHost: number;
  /** For one organisation and host, so that one organisation cannot take all slots of a host. */
  perOrganisationAndHost: number;
}

/**
 * The limits of requests whose response is buffered. Each can hold 128 kB of response while it is decompressed, so all of
 * them hold at most 32 MB. At a third of a second for each response, the limit of a host allows 190 requests per second,
 * which is above Okta's own rate limit for an organisation.
 */
export const bufferedLimits: BulkheadLimits = {
  total: 256,
  perOrganisation: 64,
  perCaller: 32,
  perHost: 64,
  perOrganisationAndHost: 48,
};

/** The limits of buffered requests whose senders can do without a response. All of them hold at most 12 MB of responses. */
export const optionalLimits: BulkheadLimits = {
  total: 96,
  perOrganisation: 48,
  perCaller: 24,
  perHost: 24,
  perOrganisationAndHost: 24,
};

/**
 * The limits of requests that are streamed through this server, which are apart from the others: hosts that hold up uses
 * of connections do not hold up verifications. An Okta organisation accepts 75 requests at a time. Each stream holds at
 * most about 200 kB in the buffers of its two sockets.
 */
export const streamedLimits: BulkheadLimits = {
  total: 512,
  perOrganisation: 256,
  perCaller: 128,
  perHost: 256,
  perOrganisationAndHost: 128,
};

/** A slot of the bulkhead, held until each of its holders is disposed of. */
export interface Slot extends Disposable {
  /** Adds a holder: a connection attempt can outlive its aborted request. */
  hold(): Disposable;
}

interface Limit {
  key: string;
  max: number;
  /** Which other requests reach it, for the message of the error. */
  others: string;
}

/** Limits the concurrent requests of an outbound client. */
export class Bulkhead {
  readonly #limits: BulkheadLimits;
  readonly #timeoutMs: number;
  readonly #counts = new Map<string, number>();

  /** @param timeoutMs the time limit of a request */
  constructor(limits: BulkheadLimits, timeoutMs: number) {
    this.#limits = limits;
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
    const limits = limitsFor(this.#limits, host, requester);
    const full = limits.find(({ key, max }) => (this.#counts.get(key) ?? 0) >= max);
    if (full) {
      const retryAt = new Date(currentTimeMs() + this.#timeoutMs);
      throw new OutboundError('BUSY', `${full.max} other requests ${full.others}`, { retryAt });
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

function limitsFor(
  { total, perOrganisation, perCaller, perHost, perOrganisationAndHost }: BulkheadLimits,
  host: string,
  requester: Requester | undefined,
): readonly Limit[] {
  const limits = [
    { key: `host ${host}`, max: perHost, others: 'are waiting for this host' },
    { key: 'all', max: total, others: 'are waiting for other hosts' },
  ];
  if (!requester) return limits;
  const { orgId, callerId } = requester;
  const ofCaller = 'of this API key or token are waiting for their hosts';
  return [
    { key: `caller ${callerId}`, max: perCaller, others: ofCaller },
    {
      key: `organisation ${orgId} ${host}`,
      max: perOrganisationAndHost,
      others: 'of this organisation are waiting for this host',
    },
    {
      key: `organisation ${orgId}`,
      max: perOrganisation,
      others: 'of this organisation are waiting for their hosts',
    },
    ...limits,
  ];
}
