import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import pg from 'pg';

/** The databases of one run. */
export interface Databases extends AsyncDisposable {
  /** The first database, empty until the product has made its tables in it. */
  first: string;
  /** Puts what is there in order, so that every copy begins alike, and says under which data key to seal. */
  settle(): Promise<{ dataKeyId: string }>;
  /** A copy of the first database for one server. A peer has no roles to keep organisations apart by. */
  copy(name: string, isPeer: boolean): Promise<string>;
}

/** Makes databases on the PostgreSQL of DATABASE_URL, and drops them when disposed of. */
export async function makeDatabases(): Promise<Databases> {
  const server = process.env.DATABASE_URL ?? `postgresql://${userInfo().username}@127.0.0.1:5432/postgres`;
  const admin = new pg.Client({ connectionString: server });
  await admin.connect();
  const run = randomBytes(4).toString('hex');
  const made: string[] = [];
  const make = async (name: string, template = '') => {
    const database = `bench_peers_${run}_${name}`;
    await admin.query(`create database ${database} ${template}`);
    made.push(database);
    const url = new URL(server);
    url.pathname = database;
    return url.href;
  };
  const dropAll = async () => {
    for (const database of made) await admin.query(`drop database if exists ${database} with (force)`);
    await admin.end();
  };
  process.once('SIGINT', () => void dropAll().finally(() => process.exit(130)));
  const first = await make('first');
  return {
    first,
    settle: () =>
      within(first, async (client) => {
        await client.query('vacuum (freeze, analyze)');
        const { rows } = await client.query<{ dataKeyId: string }>(
          'select data_key_id as "dataKeyId" from app_connection limit 1',
        );
        if (!rows[0]) throw new Error('there is no connection yet');
        return rows[0];
      }),
    copy: async (name, isPeer) => {
      const url = await make(name, `template bench_peers_${run}_first`);
      if (isPeer) {
        await within(url, async (client) => {
          for (const table of ['app_connection', 'api_key']) {
            await client.query(
              `alter table ${table} disable row level security, no force row level security`,
            );
          }
        });
      }
      return url;
    },
    [Symbol.asyncDispose]: dropAll,
  };
}

async function within<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
