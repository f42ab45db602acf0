/** JSON that is nested more deeply is not parsed. */
const maxDepth = 32;
/** With fewer digits, an integer is exact. */
const manyDigits = 16;

/** A part of a text. */
export interface JsonRange {
  start: number;
  end: number;
}

/** What can be known of JSON without parsing it. */
export interface ScannedJson {
  /** If the text is a list with more tokens than `partTokens`: its elements in groups. Otherwise empty. */
  parts: JsonRange[];
  /** The integers beyond 2^53. */
  longIntegers: JsonRange[];
}

/** The most brackets, commas and colons. */
export interface ScanLimits {
  maxTokens: number;
  /** In an element of a list, or in a value that is not a list. */
  maxTokensAtOnce: number;
  /** In a part of a list, unless a single element has more. */
  partTokens: number;
}

/**
 * Scans a text in time proportional to its length. It accepts texts that are not JSON, but a list whose parts are JSON is
 * JSON, unless a part is empty.
 *
 * @returns undefined if the text is nested too deeply or has too many tokens, or is not JSON after its parts
 */
export function scanJson(text: string, limits: ScanLimits): ScannedJson | undefined {
  const { maxTokens, maxTokensAtOnce, partTokens } = limits;
  const longIntegers: JsonRange[] = [];
  const parts: JsonRange[] = [];
  const first = skipSpaces(text, 0);
  const isList = text.charCodeAt(first) === openingBracket;
  const outer = isList ? 1 : 0;
  let depth = 0;
  let tokens = 0;
  let part = { start: first + 1, tokens: 0 };
  let element = { start: first + 1, tokens: 0 };
  for (let index = first; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === quote) index = findEndOfString(text, index);
    const kind = kinds[code];
    if (kind === undefined || kind === none) continue;
    if (kind === number) {
      const end = findEndOfNumber(text, index);
      if (isLongInteger(text, index, end)) longIntegers.push({ start: index, end });
      index = end - 1;
      continue;
    }
    depth += kind;
    tokens += 1;
    if (depth > maxDepth || tokens > maxTokens) return undefined;
    element.tokens += 1;
    if (element.tokens > maxTokensAtOnce) return undefined;
    const isEnd = depth < outer;
    const isBetween = depth === outer && code === comma;
    if (!isList || !(isEnd || isBetween)) continue;
    const isFull = part.tokens + element.tokens > partTokens && element.start > part.start;
    if (isFull) {
      parts.push({ start: part.start, end: element.start - 1 });
      part = { start: element.start, tokens: 0 };
    }
    part.tokens += element.tokens;
    element = { start: index + 1, tokens: 0 };
    if (isEnd) {
      if (code !== closingBracket || skipSpaces(text, index + 1) < text.length) return undefined;
      if (parts.length > 0) parts.push({ start: part.start, end: index });
      break;
    }
  }
  return depth === 0 ? { parts, longIntegers } : undefined;
}

function skipSpaces(text: string, start: number): number {
  let index = start;
  while (spaces.has(text.charCodeAt(index))) index += 1;
  return index;
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

function findEndOfNumber(text: string, start: number): number {
  let end = start + 1;
  while (inNumbers.has(text.charCodeAt(end))) end += 1;
  return end;
}

/** Whether a number is an integer that JavaScript rounds. Names of members are not numbers in JSON. */
function isLongInteger(text: string, start: number, end: number): boolean {
  if (end - start < manyDigits) return false;
  const digits = text.slice(start, end);
  if (!/^-?[1-9]\d*$/.test(digits) || Number.isSafeInteger(Number(digits))) return false;
  return text.charCodeAt(skipSpaces(text, end)) !== colon;
}

const [quote, backslash, openingBracket, closingBracket, comma, colon] = [...'"\\[],:'].map((character) =>
  character.charCodeAt(0),
) as [number, number, number, number, number, number];
const inNumbers = new Set([...'-+.eE0123456789'].map((character) => character.charCodeAt(0)));
const spaces = new Set([...' \t\n\r'].map((character) => character.charCodeAt(0)));
const none = 2;
const number = 3;

/** By how much a character changes the depth, `number`, or `none`. A table, which is three times as fast as sets. */
const kinds = new Int8Array(128).fill(none);
for (const character of '[{') kinds[character.charCodeAt(0)] = 1;
for (const character of ']}') kinds[character.charCodeAt(0)] = -1;
for (const character of ',:') kinds[character.charCodeAt(0)] = 0;
for (const character of '-0123456789') kinds[character.charCodeAt(0)] = number;
