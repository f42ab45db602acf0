/** Limits for JSON of other hosts. The time and memory of `JSON.parse` grow with depth and tokens. */
const maxDepth = 32;
const defaultMaxTokens = 20_000;

/** With fewer digits, an integer is exact. */
const manyDigits = /\d{16}/;

/**
 * Parses JSON of another host. An integer beyond 2^53 is returned as a text, because a number would lose its last digits.
 *
 * @returns undefined if the text is not JSON, is nested more than 32 levels deep, or has more brackets, commas and colons than
 *   `maxTokens`, by default 20,000
 */
export function parseJson(text: string, { maxTokens = defaultMaxTokens } = {}): unknown {
  if (hasTooMuchStructure(text, maxTokens)) return undefined;
  try {
    return manyDigits.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A reviver that is called with the text of each value. */
function keepDigits(_: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source ?? '';
  return typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? source : value;
}

function hasTooMuchStructure(text: string, maxTokens: number): boolean {
  let depth = 0;
  let tokens = 0;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === quote) index = findEndOfString(text, index);
    const change = structure[code];
    if (change === undefined || change === none) continue;
    depth += change;
    tokens += 1;
    if (depth > maxDepth || tokens > maxTokens) return true;
  }
  return false;
}

/** Returns the index of the closing quote, or the length of the text without one. */
function findEndOfString(text: string, start: number): number {
  let end = start;
  do {
    end = text.indexOf('"', end + 1);
    if (end < 0) return text.length;
  } while (isEscaped(text, end));
  return end;
}

function isEscaped(text: string, index: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(index - 1 - backslashes) === backslash) backslashes += 1;
  return backslashes % 2 === 1;
}

const quote = '"'.charCodeAt(0);
const backslash = '\\'.charCodeAt(0);
const none = 2;

/** By how much a character changes the depth, or `none` if it is no token. A table, which is three times as fast as sets. */
const structure = new Int8Array(128).fill(none);
for (const character of '[{') structure[character.charCodeAt(0)] = 1;
for (const character of ']}') structure[character.charCodeAt(0)] = -1;
for (const character of ',:') structure[character.charCodeAt(0)] = 0;
