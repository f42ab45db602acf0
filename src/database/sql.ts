import { type RawBuilder, sql } from 'kysely';

export { sql };

/** A fragment of SQL with its values apart from the text. */
export type Sql = RawBuilder<unknown>;

/** Joins conditions with `and`. */
export function joinAnd(conditions: readonly Sql[]): Sql {
  return sql.join(conditions, sql` and `);
}
