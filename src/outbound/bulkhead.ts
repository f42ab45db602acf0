import { OutboundError } from './outbound-error.ts';

/** Who has a request sent. */
export interface Requester {
  orgId: string;
  /** Tells the caller from all others, also from those of other organisations. */
  callerId: string;
}

/**
 * The most requests at a time. Each may hold 128 kB of answer while it is decompressed, so all of them hold 32 MB at
 * the very most.
 */
export const maxTotal = 256;

/** The most requests of one organisation at a time: a quarter, so that it takes four to fill all slots. */
export const maxPerOrganisation = 64;

/** The most requests of one caller at a time: half of its organisation's. */
export const maxPerCaller = 32;

/**
 * The most requests to one host at a time. At the third of a second that a good answer takes, that is 190 a second,
 * more than Okta lets one of its organisations ask; a host that never answers can hold no more than these.
 */
export const maxPerHost = 64;

/** The most requests of one organisation to one host at a time, so that it cannot keep the others from theirs. */
export const maxPerOrganisationAndHost = 48;

/** A place among the requests that are under way, kept until each of its holders is disposed of. */
export interface Slot extends Disposable {
  /** Keeps the slot for longer: for a connection that goes on being made after its request has been given up. */
  hold(): Disposable;
}

interface Limit {
  key: string;
  max: number;
  /** Why there is no slot. */
  message: string;
}

/** The requests of one client that are under way. */
export class Bulkhead {
  readonly #timeoutMs: number;
  readonly #taken = new Map<string, number>();

  /** @param timeoutMs how long a request may take */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Takes a slot. Nobody waits for one: where all are taken, most are held by hosts that do not answer, and those who
   * wait would be held up in their turn.
   *
   * @param requester absent: the server itself
   * @throws OutboundError `BUSY`, with when all that is under way now will be over
   */
  acquire(host: string, requester?: Requester): Slot {
    const limits = limitsFor(host, requester);
    const full = limits.find(({ key, max }) => (this.#taken.get(key) ?? 0) >= max);
    if (full) {
      const retryAt = new Date(Date.now() + this.#timeoutMs);
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
      const count = (this.#taken.get(key) ?? 0) + change;
      if (count > 0) this.#taken.set(key, count);
      else this.#taken.delete(key);
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
