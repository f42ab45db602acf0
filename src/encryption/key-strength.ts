/** One in 3 × 10⁹ random keys of 32 bytes has fewer distinct bytes. */
const minDistinctBytes = 16;
/** Even fewer random keys have fewer distinct differences between adjacent bytes. */
const minDistinctSteps = 8;
const minDistinctCharacters = 6;
const minDistinctCharacterSteps = 4;

/**
 * Finds out whether 32 bytes are evidently not random, and therefore guessable.
 *
 * @returns the reason, or undefined when the bytes may be random
 */
export function findRootKeyWeakness(bytes: Uint8Array): string | undefined {
  if (new Set(bytes).size < minDistinctBytes || isRepetition(bytes)) return 'repeats a few bytes';
  if (countSteps(bytes) < minDistinctSteps) return 'counts up or down';
  if (bytes.every((byte) => byte >= 0x20 && byte < 0x7f)) return 'is text';
  return undefined;
}

/** Finds out whether a chosen API key is guessable, as `findRootKeyWeakness` does for root keys. */
export function findApiKeyWeakness(key: string): string | undefined {
  const bytes = Buffer.from(key);
  if (new Set(bytes).size < minDistinctCharacters || isRepetition(bytes)) return 'repeats a few characters';
  if (countSteps(bytes) < minDistinctCharacterSteps) return 'counts up or down';
  return undefined;
}

/** Whether the bytes are a pattern that repeats at least once. */
function isRepetition(bytes: Uint8Array): boolean {
  for (let period = 1; period <= bytes.length / 2; period += 1) {
    if (bytes.every((byte, index) => index < period || byte === bytes[index - period])) return true;
  }
  return false;
}

/** Counts the distinct differences between adjacent bytes. */
function countSteps(bytes: Uint8Array): number {
  return new Set(bytes.subarray(1).map((byte, index) => byte - (bytes[index] ?? 0))).size;
}
