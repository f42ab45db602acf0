/**
 * Compares two versions of this program, such as `0.10.0`, by their numbers.
 *
 * @returns a number above 0 if the first is later, below 0 if the second is, and otherwise 0
 */
export function compareVersions(one: string, other: string): number {
  const [numbers, others] = [parse(one), parse(other)];
  const index = numbers.findIndex((number, at) => number !== others[at]);
  return (numbers[index] ?? 0) - (others[index] ?? 0);
}

/** A pre-release counts as its release. */
function parse(version: string): [number, number, number] {
  const [, major, minor, patch] = /^(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
  return [Number(major), Number(minor), Number(patch)];
}
