import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import pg from 'pg';

/** The databases of one run. */
export interface Databases extends AsyncDisposable {
  /** The first database, empty until the product has migrated it. */
  first: string;
  /** Vacuums the first database, so that all copies start equal, and returns its data key. */
  settle(): Promise<{ dataKeyId: string }>;
  /** An empty database. */
  empty(name: string): Promise<string>;
  /** A copy of the first database, with or without row-level security, for which peers lack the roles. */
  copy(name: string, hasRowLevelSecurity?: boolean): Promise<string>;
}

/** Creates databases on the PostgreSQL of DATABASE_URL, and drops them when disposed. */
export async function createDatabases(): Promise<Databases> {
  const server = process.env.DATABASE_URL ?? `postgresql://${userInfo().username}@127.0.0.1:5432/postgres`;
  const admin = new pg.Client({ connectionString: server });
  await admin.connect();
  const run = randomBytes(4).toString('hex');
  const created: string[] = [];
  const make = async (name: string, template = '') => {
    const database = `bench_${run}_${name}`;
    await admin.query(`create database ${database} ${template}`);
    created.push(database);
    const url = new URL(server);
    url.pathname = database;
    return url.href;
  };
  const dropAll = async () => {
    for (const database of created) await admin.query(`drop database if exists ${database} with (force)`);
    await admin.end();
  };
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => void dropAll().finally(() => process.exit(130)));
  }
  const first = await make('first');
  return {
    first,
    settle: () =>
      withClient(first, async (client) => {
        await client.query('vacuum (freeze, analyze)');
        const { rows } = await client.query<{ dataKeyId: string }>(
          'select data_key_id as "dataKeyId" from app_connection limit 1',
        );
        if (!rows[0]) throw new Error('there is no connection yet');
        return rows[0];
      }),
    empty: (name) => make(name),
    copy: async (name, hasRowLevelSecurity = true) => {
      const url = await make(name, `template bench_${run}_first`);
      if (!hasRowLevelSecurity) {
        await withClient(url, async (client) => {
          const { rows } = await client.query<{ name: string }>(
            'select oid::regclass::text as name from pg_class where relrowsecurity',
          );
          for (const table of rows) {
            await client.query(
              `alter table ${table.name} disable row level security, no force row level security`,
            );
          }
        });
      }
      return url;
    },
    [Symbol.asyncDispose]: dropAll,
  };
}

/** Runs a function with a connection to a database. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
