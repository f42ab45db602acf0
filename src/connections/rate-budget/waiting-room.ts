/** The most requests of a server that wait for rate budgets. Each holds a request and its connection. */
const maxOfCaller = 128;
const maxOfOrganisation = 512;
const maxInAll = 1_024;

/** Bounds the requests of a server that wait for rate budgets. */
export class WaitingRoom {
  readonly #counts = new Map<string, number>();

  /** The number of requests that wait. */
  get size(): number {
    return this.#counts.get('') ?? 0;
  }

  /** @returns a function that leaves, to be called once; undefined if there is no room */
  enter(orgId: string, callerId: string): (() => void) | undefined {
    const limits = [
      ['', maxInAll],
      [orgId, maxOfOrganisation],
      [`${orgId} ${callerId}`, maxOfCaller],
    ] as const;
    if (limits.some(([key, max]) => (this.#counts.get(key) ?? 0) >= max)) return undefined;
    for (const [key] of limits) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    return () => {
      for (const [key] of limits) {
        const left = (this.#counts.get(key) ?? 0) - 1;
        if (left > 0) this.#counts.set(key, left);
        else this.#counts.delete(key);
      }
    };
  }
}
