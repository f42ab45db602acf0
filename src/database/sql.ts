/** A fragment of SQL with its values apart from the text. */
export class Sql {
  /** The text before, between and after the values. */
  readonly parts: readonly string[];
  readonly values: readonly unknown[];

  constructor(parts: readonly string[], values: readonly unknown[]) {
    this.parts = parts;
    this.values = values;
  }

  /** The text with PostgreSQL's placeholders, `$1` for the first value. */
  get text(): string {
    return this.parts.reduce((text, part, index) => `${text}$${index}${part}`);
  }
}

/** Builds SQL from a template, in which each substitution is a value or a fragment. */
export function sql(parts: readonly string[], ...substitutions: readonly unknown[]): Sql {
  const text = [parts[0] ?? ''];
  const values: unknown[] = [];
  const append = (part: string) => text.push(`${text.pop()}${part}`);
  substitutions.forEach((value, index) => {
    const fragment = value instanceof Sql ? value : new Sql(['', ''], [value]);
    fragment.parts.forEach((part, partIndex) => {
      if (partIndex === 0) append(part);
      else text.push(part);
    });
    values.push(...fragment.values);
    append(parts[index + 1] ?? '');
  });
  return new Sql(text, values);
}

/** A constant fragment without values. Never pass text of a caller. */
export function raw(text: string): Sql {
  return new Sql([text], []);
}

/** Joins conditions with `and`. */
export function joinAnd(conditions: readonly Sql[]): Sql {
  return conditions.reduce((all, condition) => sql`${all} and ${condition}`);
}
