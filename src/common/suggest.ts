/** The most edits between a word and one that is suggested for it. */
const maxEdits = 2;

/** Returns ` Did you mean "admin"?` for `admni`; an empty text if no word is close. */
export function suggest(word: string, known: Iterable<string>): string {
  const ranked = [...known]
    .map((candidate) => ({ candidate, edits: countEdits(word.toLowerCase(), candidate) }))
    .filter(({ candidate, edits }) => edits <= maxEdits && edits < candidate.length)
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  return best ? ` Did you mean "${best.candidate}"?` : '';
}

/** The Damerau-Levenshtein distance: insertions, deletions, replacements, and swaps of neighbours. */
function countEdits(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  const at = (row: number, column: number) => rows[row]?.[column] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i += 1) {
    rows[i] = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY;
      rows[i]?.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, replaced, swapped));
    }
  }
  return at(a.length, b.length);
}
