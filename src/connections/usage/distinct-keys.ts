/** Counts the distinct keys of groups, so that no caller can have any number of rows stored. */
export class DistinctKeys {
  readonly #groups = new Map<string, Set<string>>();
  readonly #maxSize: number;
  #size = 0;

  /** @param maxSize the most keys of all groups */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** @returns whether the key is known in its group, or the group had fewer than `max` keys and now has this one too */
  admit(group: string, key: string, max: number): boolean {
    const keys = this.#groups.get(group);
    if (keys?.has(key)) return true;
    if ((keys?.size ?? 0) >= max || this.#size >= this.#maxSize) return false;
    if (keys) keys.add(key);
    else this.#groups.set(group, new Set([key]));
    this.#size += 1;
    return true;
  }

  clear(): void {
    this.#groups.clear();
    this.#size = 0;
  }
}
