import { type JsonRange, scanJson } from './scan-json.ts';

/** Limits for JSON of other hosts. The time and memory of `JSON.parse` grow with depth and tokens. */
const defaultMaxTokens = 20_000;
/** The most tokens that are parsed at once, which takes up to 20 ms. */
const maxTokensAtOnce = 20_000;
/** The tokens of the elements of a list that are parsed together. */
const partTokens = 10_000;
/** JSON of 1 MiB that Okta writes has about 120,000. */
const maxTokensInParts = 200_000;

/**
 * Parses JSON of another host. An integer beyond 2^53 is returned as a text, because a number would lose its last digits.
 *
 * @returns undefined if the text is not JSON, is nested more than 32 levels deep, or has more brackets, commas and colons than
 *   `maxTokens`, by default 20,000
 */
export function parseJson(text: string, { maxTokens = defaultMaxTokens } = {}): unknown {
  const scanned = scanJson(text, { maxTokens, maxTokensAtOnce: maxTokens, partTokens: maxTokens });
  return scanned && tryParse(keepDigits(text, { start: 0, end: text.length }, scanned.longIntegers));
}

/**
 * Parses JSON of another host like `parseJson`, but a list in parts, so that no part blocks the event loop for long.
 *
 * @param waitForTurn called before each part
 * @param change applied to each part
 * @returns undefined also if the text has more than 200,000 tokens, or more than 20,000 in a value that is not a list, or in an
 *   element of a list
 */
export async function parseJsonInParts(
  text: string,
  waitForTurn: () => Promise<void>,
  change: (part: unknown) => unknown = (part) => part,
): Promise<unknown> {
  await waitForTurn();
  const scanned = scanJson(text, { maxTokens: maxTokensInParts, maxTokensAtOnce, partTokens });
  if (!scanned) return undefined;
  const { parts, longIntegers } = scanned;
  if (parts.length < 2) {
    const parsed = tryParse(keepDigits(text, { start: 0, end: text.length }, longIntegers));
    return parsed === undefined ? undefined : change(parsed);
  }
  const elements: unknown[] = [];
  for (const part of parts) {
    await waitForTurn();
    const parsed = tryParse(`[${keepDigits(text, part, longIntegers)}]`);
    // Between two commas, there is nothing.
    if (!Array.isArray(parsed) || parsed.length === 0) return undefined;
    for (const element of change(parsed) as unknown[]) elements.push(element);
  }
  return elements;
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Makes texts of the integers that are not exact as numbers. */
function keepDigits(text: string, { start, end }: JsonRange, longIntegers: readonly JsonRange[]): string {
  const inside = longIntegers.filter((integer) => integer.start >= start && integer.end <= end);
  let kept = '';
  let from = start;
  for (const integer of inside) {
    kept += `${text.slice(from, integer.start)}"${text.slice(integer.start, integer.end)}"`;
    from = integer.end;
  }
  return kept + text.slice(from, end);
}
