/** Adds up the time in which at least one of several tasks runs, so that tasks at the same time are not counted twice. */
export class Stopwatch {
  #running = 0;
  #since = 0;
  #total = 0;

  /** A task begins. */
  start(): void {
    if (this.#running === 0) this.#since = performance.now();
    this.#running += 1;
  }

  /** A task that was started ends. */
  stop(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#total += performance.now() - this.#since;
  }

  /** The time so far, in milliseconds. */
  get ms(): number {
    return this.#total + (this.#running > 0 ? performance.now() - this.#since : 0);
  }
}
