import { createHash, randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import pg from 'pg';
import type { Organisation } from './fixture.ts';

/** The databases of one run. */
export interface Databases extends AsyncDisposable {
  /** The first database, empty until the product has migrated it. */
  first: string;
  /**
   * Copies connections of the first organisation to those of the other API keys, and vacuums the first database, so that all
   * copies start equal. Returns the data key of the first organisation.
   */
  settle(keys: readonly string[]): Promise<{ dataKeyId: string; organisations: Organisation[] }>;
  /** An empty database. */
  empty(name: string): Promise<string>;
  /** A copy of the first database, with or without row-level security, for which peers lack the roles. */
  copy(name: string, hasRowLevelSecurity?: boolean): Promise<string>;
  /** A copy of another database of this run, to which nothing is connected. */
  copyOf(url: string, name: string): Promise<string>;
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
    settle: (keys) =>
      withClient(first, async (client) => {
        const organisations = await copyConnections(client, keys);
        await client.query('vacuum (freeze, analyze)');
        const { rows } = await client.query<{ dataKeyId: string }>(
          'select data_key_id as "dataKeyId" from app_connection limit 1',
        );
        if (!rows[0]) throw new Error('there is no connection yet');
        return { ...rows[0], organisations };
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
    copyOf: (url, name) => make(name, `template ${new URL(url).pathname.slice(1)}`),
    [Symbol.asyncDispose]: dropAll,
  };
}

/** The connections of each organisation but the first: more than two pages. */
const copiedConnections = 100;

/** Copies connections to the organisations of the API keys after the first, and returns the ids of all. */
async function copyConnections(client: pg.Client, keys: readonly string[]): Promise<Organisation[]> {
  const others = await otherColumns(client, 'id', 'org_id');
  const organisations: Organisation[] = [];
  for (const key of keys) {
    const hash = createHash('sha256').update(key).digest('hex');
    const { rows } = await client.query<{ orgId: string }>(
      'select org_id as "orgId" from api_key where hash = $1',
      [hash],
    );
    const orgId = rows[0]?.orgId;
    if (organisations.length > 0) {
      await client.query(
        `insert into app_connection (id, org_id, ${others})
         select gen_random_uuid(), $1, ${others} from app_connection
         where org_id = (select org_id from app_connection order by created_at limit 1) order by name limit ${copiedConnections}`,
        [orgId],
      );
    }
    const { rows: ids } = await client.query<{ id: string }>(
      'select id from app_connection where org_id = $1 order by name',
      [orgId],
    );
    organisations.push({ key, ids: ids.map(({ id }) => id) });
  }
  return organisations;
}

/** The names of the columns of `app_connection`, except some, separated by commas. */
export async function otherColumns(client: pg.Client, ...except: string[]): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    `select column_name as name from information_schema.columns
     where table_schema = current_schema and table_name = 'app_connection' and column_name <> all($1)`,
    [except],
  );
  return rows.map(({ name }) => name).join(', ');
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
