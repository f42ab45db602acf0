/** The comparisons of Okta's expressions for `filter` and `search`. */
const comparisons: Record<string, (value: string, operand: string) => boolean> = {
  eq: (value, operand) => value === operand,
  sw: (value, operand) => value.startsWith(operand),
  co: (value, operand) => value.includes(operand),
  gt: (value, operand) => value > operand,
  ge: (value, operand) => value >= operand,
  lt: (value, operand) => value < operand,
  le: (value, operand) => value <= operand,
};

/**
 * Selects objects by an expression of comparisons and `and`: `status eq "ACTIVE" and profile.login sw "a"`.
 *
 * @returns undefined for another expression
 */
export function applyExpression<T extends object>(
  objects: readonly T[],
  expression: string,
): readonly T[] | undefined {
  const terms = expression
    .split(/ and /i)
    .map((term) => /^\s*([\w.]+) (eq|sw|co|gt|ge|lt|le) "([^"]*)"\s*$/i.exec(term));
  return terms.reduce<readonly T[] | undefined>((left, term) => {
    if (!term || !left) return undefined;
    const [, path = '', operator = '', operand = ''] = term;
    const compare = comparisons[operator.toLowerCase()];
    return left.filter((object) => compare?.(String(valueAt(object, path) ?? ''), operand));
  }, objects);
}

/** Selects objects of which a name starts with a text, as `q` does. */
export function applyQuery<T extends object>(objects: readonly T[], query: string): readonly T[] {
  const names = [
    'label',
    'displayMessage',
    'profile.name',
    'profile.firstName',
    'profile.lastName',
    'profile.email',
  ];
  const sought = query.toLowerCase();
  return objects.filter((object) =>
    names.some((name) =>
      String(valueAt(object, name) ?? '')
        .toLowerCase()
        .startsWith(sought),
    ),
  );
}

function valueAt(object: object, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => Object(value)[name], object);
}
