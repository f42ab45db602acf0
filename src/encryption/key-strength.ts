/** Fewer random bytes among 32 are different once in three thousand million keys. */
const fewestBytes = 16;
/** Fewer steps from byte to byte among 31 are different less often than that. */
const fewestSteps = 8;
const fewestCharacters = 6;
const fewestCharacterSteps = 4;

/**
 * Why 32 bytes are evidently no random key, so that guessing could find them.
 *
 * @returns undefined for what may be random
 */
export function findRootKeyWeakness(bytes: Uint8Array): string | undefined {
  if (new Set(bytes).size < fewestBytes || repeats(bytes)) return 'repeats a few bytes';
  if (countSteps(bytes) < fewestSteps) return 'counts up or down';
  if (bytes.every((byte) => byte >= 0x20 && byte < 0x7f)) return 'is text';
  return undefined;
}

/** The same of an API key that somebody has chosen. */
export function findApiKeyWeakness(key: string): string | undefined {
  const bytes = Buffer.from(key);
  if (new Set(bytes).size < fewestCharacters || repeats(bytes)) return 'repeats a few characters';
  if (countSteps(bytes) < fewestCharacterSteps) return 'counts up or down';
  return undefined;
}

/** Whether the second half is known once the first is. */
function repeats(bytes: Uint8Array): boolean {
  for (let period = 1; period <= bytes.length / 2; period += 1) {
    if (bytes.every((byte, index) => index < period || byte === bytes[index - period])) return true;
  }
  return false;
}

/** How many different steps there are from one byte to the next. */
function countSteps(bytes: Uint8Array): number {
  return new Set(bytes.subarray(1).map((byte, index) => byte - (bytes[index] ?? 0))).size;
}
