import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type RawBuilder,
} from 'kysely';

const kysely = new Kysely<object>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** Compiles a fragment of SQL to a text with `$1` for the first value. */
export function compileSql(fragment: RawBuilder<unknown>): { text: string; values: readonly unknown[] } {
  const { sql, parameters } = fragment.compile(kysely);
  return { text: sql, values: parameters };
}
