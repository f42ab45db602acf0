import { normalisePath } from './normalise-path.ts';

/** A part of a compiled pattern: text, a name such as `:id`, `*`, or `/**` at the end. */
type Part = { text: string } | 'SEGMENT' | 'ANYTHING' | 'SUBTREE';

/** A compiled path pattern. */
export interface PathPattern {
  matches(path: string): boolean;
}

/** The most characters of a pattern. */
const maxPatternLength = 256;

/**
 * Compiles a pattern in the part of URLPattern's syntax that paths of APIs need: `:name` matches characters of one segment,
 * at least one; `*` matches any characters, slashes too; `/**` at the end matches the path before it and everything below.
 *
 * Matching takes time proportional to the lengths of pattern and path. URLPattern itself compiles to a regular expression,
 * which backtracks: a pattern with four `*` takes seconds for a long path, and callers choose both.
 *
 * @returns the reason for people, if the text is not a pattern
 */
export function compilePattern(
  pattern: string,
  { ignoreCase = false } = {},
): PathPattern | { reason: string } {
  const reason = findFault(pattern);
  if (reason) return { reason };
  const [first, ...others] = splitPattern(ignoreCase ? pattern.toLowerCase() : pattern);
  // As a rule, a policy has many patterns, and most differ from a path in their beginning.
  const [start, parts] = typeof first === 'object' ? [first.text, others] : ['', first ? [first] : []];
  return {
    matches: (rawPath) => {
      const path = ignoreCase ? rawPath.toLowerCase() : rawPath;
      return path.startsWith(start) && matchParts(parts, path, start.length);
    },
  };
}

function findFault(pattern: string): string | undefined {
  if (pattern.length > maxPatternLength) return `A path pattern has at most ${maxPatternLength} characters.`;
  if (!pattern.startsWith('/')) return 'A path pattern starts with a slash, as in /api/v1/users/:id.';
  if (/[^A-Za-z0-9\-._~!$&',=@/:*%]/.test(pattern)) {
    return 'A path pattern has no groups ({…} or (…)), no modifiers (? or +), no query, and no other special characters.';
  }
  if (/:(?![A-Za-z_])/.test(pattern)) return 'A colon starts a name, as in /api/v1/users/:id.';
  if (/:\w+\*/.test(pattern)) return 'Write a slash between a name and *.';
  if (/\*{2}/.test(pattern.replace(/\/\*\*$/, '')))
    return 'Two asterisks are only allowed at the end, after a slash.';
  const example = pattern.replace(/:\w+|\*{1,2}/g, 'x');
  if (normaliseOrUndefined(example) !== example) {
    return 'Paths are normalised before they are matched, and this pattern would match none: write it without empty segments, dot segments, a slash at the end, and percent-encoding that is not needed.';
  }
  const names = pattern.match(/:\w+/g) ?? [];
  if (new Set(names).size < names.length) return 'Each name in a path pattern is different.';
  return undefined;
}

function normaliseOrUndefined(path: string): string | undefined {
  try {
    return normalisePath(path);
  } catch {
    return undefined;
  }
}

function splitPattern(pattern: string): Part[] {
  return (pattern.match(/\/\*\*$|\*|:\w+|(?:(?!\/\*\*$)[^*:])+/g) ?? []).map((part) => {
    if (part === '/**') return 'SUBTREE';
    if (part === '*') return 'ANYTHING';
    return part.startsWith(':') ? 'SEGMENT' : { text: part };
  });
}

/**
 * Follows all ways to match at once: the ends in the path at which the parts so far can match. They are bits of one number, so
 * that an operation takes some nanoseconds for 64 of them: a policy has up to 50 patterns, with more than 100 asterisks each.
 *
 * @param start where the first of these parts begins
 */
function matchParts(parts: readonly Part[], path: string, start: number): boolean {
  const places = new Places(path);
  let ends = 1n << BigInt(start);
  for (const part of parts) {
    if (ends === 0n) return false;
    ends = advance(part, places, ends);
  }
  return (ends & places.end) !== 0n;
}

function advance(part: Part, places: Places, ends: bigint): bigint {
  const { end } = places;
  if (typeof part === 'object') {
    if (!places.path.includes(part.text)) return 0n;
    return [...part.text].reduce((reached, character) => (reached & places.of(character)) << 1n, ends);
  }
  if (part === 'SUBTREE') return (ends & (places.of('/') | end)) === 0n ? 0n : end;
  // From the first of them on.
  if (part === 'ANYTHING') return 2n * end - (ends & -ends);
  // The sum changes the bits from each beginning to the end of its segment, but for further beginnings on the way.
  const isInside = (end - 1n) ^ places.of('/');
  const beginnings = ends & isInside;
  return ((((beginnings + isInside) ^ isInside) | beginnings) & isInside) << 1n;
}

/** The places of characters in a path, as bits. */
class Places {
  readonly path: string;
  /** Where the path ends. */
  readonly end: bigint;
  readonly #known = new Map<string, bigint>();

  constructor(path: string) {
    this.path = path;
    this.end = 1n << BigInt(path.length);
  }

  of(character: string): bigint {
    const known = this.#known.get(character);
    if (known !== undefined) return known;
    const places = this.#find(character);
    this.#known.set(character, places);
    return places;
  }

  #find(character: string): bigint {
    let place = this.path.indexOf(character);
    if (place < 0) return 0n;
    const bytes = Buffer.alloc((this.path.length >> 3) + 1);
    for (; place >= 0; place = this.path.indexOf(character, place + 1)) {
      const index = bytes.length - 1 - (place >> 3);
      bytes[index] = (bytes[index] ?? 0) | (1 << (place & 7));
    }
    return BigInt(`0x${bytes.toString('hex')}`);
  }
}
