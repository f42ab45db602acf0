/** A piece of SQL, and apart from it the values in it. */
export class Sql {
  /** What stands before the first value, between two values, and after the last: one more than there are values. */
  readonly parts: readonly string[];
  readonly values: readonly unknown[];

  constructor(parts: readonly string[], values: readonly unknown[]) {
    this.parts = parts;
    this.values = values;
  }

  /** With `$1` for the first value, as PostgreSQL has it. */
  get text(): string {
    return this.parts.reduce((text, part, index) => `${text}$${index}${part}`);
  }
}

/** SQL written out: what is filled in is a value, or a piece of SQL. */
export function sql(parts: readonly string[], ...given: readonly unknown[]): Sql {
  const text = [parts[0] ?? ''];
  const values: unknown[] = [];
  const append = (part: string) => text.push(`${text.pop()}${part}`);
  given.forEach((value, index) => {
    const piece = value instanceof Sql ? value : new Sql(['', ''], [value]);
    piece.parts.forEach((part, place) => {
      if (place === 0) append(part);
      else text.push(part);
    });
    values.push(...piece.values);
    append(parts[index + 1] ?? '');
  });
  return new Sql(text, values);
}

/** SQL that is known beforehand and has no values; never anything that a caller has sent. */
export function raw(text: string): Sql {
  return new Sql([text], []);
}

/** All of these conditions. */
export function joinAnd(conditions: readonly Sql[]): Sql {
  return conditions.reduce((all, condition) => sql`${all} and ${condition}`);
}
