/** A queue that serves callers in turn: a caller with many entries delays another one by no more than one entry. */
export class RoundRobinQueue<Entry extends { callerId: string }> {
  /** The callers in the order of their turns. No set is empty. */
  readonly #entries = new Map<string, Set<Entry>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(entry: Entry): void {
    const own = this.#entries.get(entry.callerId);
    if (own) own.add(entry);
    else this.#entries.set(entry.callerId, new Set([entry]));
    this.#size += 1;
  }

  /** Removes the first entry of the caller whose turn it is, and moves the caller to the end. */
  takeNext(): Entry | undefined {
    const [next] = this.#entries;
    if (!next) return undefined;
    const [callerId, own] = next;
    const [first] = own;
    if (!first) return undefined;
    this.#entries.delete(callerId);
    own.delete(first);
    if (own.size > 0) this.#entries.set(callerId, own);
    this.#size -= 1;
    return first;
  }

  /** Returns whether the entry was in the queue. */
  remove(entry: Entry): boolean {
    const own = this.#entries.get(entry.callerId);
    if (!own?.delete(entry)) return false;
    if (own.size === 0) this.#entries.delete(entry.callerId);
    this.#size -= 1;
    return true;
  }

  /** Removes the entries that meet a condition. */
  removeAll(isRemoved: (entry: Entry) => boolean): Entry[] {
    const removed = [...this.#entries.values()].flatMap((own) => [...own].filter(isRemoved));
    for (const entry of removed) this.remove(entry);
    return removed;
  }

  /** The number of callers with an entry that meets a condition. */
  countCallers(isCounted: (entry: Entry) => boolean): number {
    return [...this.#entries.values()].filter((own) => [...own].some(isCounted)).length;
  }
}
