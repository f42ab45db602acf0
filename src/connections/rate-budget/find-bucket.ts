/** The patterns by their first segment, and the pattern that ends here. */
interface Node {
  pattern?: string;
  children: Map<string, Node>;
}

const placeholder = ':';
const roots = new WeakMap<readonly string[], Node>();

/** The bucket of all paths that match no pattern. */
export const otherPaths = '*';

/**
 * Finds the bucket of an app's rate limits in which a request counts: the pattern that its path matches. Segments of a
 * pattern that begin with a colon match any segment; others match first, in any case, because an app may ignore it.
 *
 * @param path normalised
 */
export function findBucket(patterns: readonly string[], path: string): string {
  const root = roots.get(patterns) ?? buildTree(patterns);
  roots.set(patterns, root);
  return match(root, toSegments(path), 0) ?? otherPaths;
}

function buildTree(patterns: readonly string[]): Node {
  const root: Node = { children: new Map() };
  for (const pattern of patterns) {
    let node = root;
    for (const segment of toSegments(pattern)) {
      const key = segment.startsWith(placeholder) ? placeholder : segment;
      const child = node.children.get(key) ?? { children: new Map() };
      node.children.set(key, child);
      node = child;
    }
    node.pattern = pattern;
  }
  return root;
}

function toSegments(path: string): string[] {
  return path.toLowerCase().split('/').slice(1);
}

function match(node: Node | undefined, segments: readonly string[], index: number): string | undefined {
  if (!node) return undefined;
  const segment = segments[index];
  if (segment === undefined) return node.pattern;
  return (
    match(node.children.get(segment), segments, index + 1) ??
    match(node.children.get(placeholder), segments, index + 1)
  );
}
