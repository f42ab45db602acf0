/** The scopes that Okta does not grant. */
export interface MissingScopes {
  missing: string[];
  /** Groups of scopes, of each of which at least one is missing. */
  uncertain: string[];
}

/** The most token requests of one search; each counts in Okta's rate limits. */
const maxRequests = 24;

/**
 * Finds out which scopes are not granted. Okta refuses all together if one of them is not, so it is asked for ever smaller
 * parts: twice the logarithm of their number for one missing scope, each half at the same time as the other.
 *
 * @param scopes refused together
 * @param isGranted asks Okta for a token with some of them; undefined if that cannot be found out
 */
export async function findMissingScopes(
  scopes: readonly string[],
  isGranted: (scopes: readonly string[]) => Promise<boolean | undefined>,
): Promise<MissingScopes> {
  const found: MissingScopes = { missing: [], uncertain: [] };
  let requests = 0;
  let refused: (readonly string[])[] = [scopes];
  while (refused.length > 0) {
    for (const [only, ...others] of refused)
      if (only !== undefined && others.length === 0) found.missing.push(only);
    const halves = refused
      .filter(({ length }) => length > 1)
      .flatMap((part) => [part.slice(0, Math.ceil(part.length / 2)), part.slice(Math.ceil(part.length / 2))]);
    const asked = halves.slice(0, Math.max(0, maxRequests - requests));
    requests += asked.length;
    found.uncertain.push(...halves.slice(asked.length).flat());
    const answers = await Promise.all(asked.map(isGranted));
    found.uncertain.push(...asked.filter((_, index) => answers[index] === undefined).flat());
    refused = asked.filter((_, index) => answers[index] === false);
  }
  return { missing: found.missing.sort(), uncertain: found.uncertain.sort() };
}
