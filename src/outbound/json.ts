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
  let isInString = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charCodeAt(index);
    if (character === quote) isInString = !isInString;
    else if (isInString) index += character === backslash ? 1 : 0;
    else if (structure.has(character)) {
      tokens += 1;
      if (opening.has(character)) depth += 1;
      else if (closing.has(character)) depth -= 1;
      if (depth > maxDepth || tokens > maxTokens) return true;
    }
  }
  return false;
}

const codes = (characters: string) => new Set([...characters].map((character) => character.charCodeAt(0)));
const opening = codes('[{');
const closing = codes(']}');
const structure = codes('[]{},:');
const quote = '"'.charCodeAt(0);
const backslash = '\\'.charCodeAt(0);
