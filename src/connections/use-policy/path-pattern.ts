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
 * Follows all ways to match at once: the set of ends in the path at which the parts so far can match.
 *
 * @param start where the first of these parts begins
 */
function matchParts(parts: readonly Part[], path: string, start: number): boolean {
  let ends: ReadonlySet<number> = new Set([start]);
  for (const part of parts) {
    if (ends.size === 0) return false;
    ends = advance(part, path, ends);
  }
  return ends.has(path.length);
}

function advance(part: Part, path: string, ends: ReadonlySet<number>): ReadonlySet<number> {
  if (typeof part === 'object') {
    const { text } = part;
    return new Set([...ends].filter((end) => path.startsWith(text, end)).map((end) => end + text.length));
  }
  const next = new Set<number>();
  const first = Math.min(...ends);
  let isInside = false;
  for (let end = first; end <= path.length; end += 1) {
    if (part === 'SUBTREE') {
      if (ends.has(end) && (end === path.length || path[end] === '/')) next.add(path.length);
    } else if (part === 'ANYTHING') {
      next.add(end);
    } else {
      // A name that started at an earlier end, and has not met a slash since.
      if (isInside && path[end - 1] !== '/') next.add(end);
      isInside = ends.has(end) || (isInside && path[end - 1] !== '/');
    }
  }
  return next;
}
