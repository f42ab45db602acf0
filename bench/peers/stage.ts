import { randomBytes } from 'node:crypto';
import { ask, type Client } from './client.ts';
import { makeDatabases } from './databases.ts';
import { type Started, start } from './processes.ts';
import { type ServerName, servers } from './servers.ts';

/** A server that is up, with the same thousand connections as all others. */
export type Running = Started & Client & { name: ServerName };

/** All servers that are compared, up, and the ids of what they have. */
export interface Stage extends AsyncDisposable {
  running: Running[];
  ids: string[];
  /** The one Okta that all of them ask. */
  oktaUrl: string;
}

const seeds = 1_000;
const atOnce = 8;

/** Has the product make a thousand connections, and starts every server on a copy of the database. */
export async function setUp(names: ServerName[]): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const databases = stack.use(await makeDatabases());
  const okta = stack.adopt(await start('okta.ts'), ({ stop }) => stop());
  const key = `bench_${randomBytes(24).toString('hex')}`;
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const settings = {
    ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
    BOOTSTRAP_API_KEY: key,
    HOST: '127.0.0.1',
    PORT: '0',
    RATE_LIMITS: 'on',
    LOG_LEVEL: 'info',
    TRUSTED_INSTANCE_HOSTS: new URL(okta.url).host,
  };

  const first = await start('product.ts', { ...settings, DATABASE_URL: databases.first });
  const ids = await seed({ url: first.url, headers, dialect: servers.product.dialect }, okta.url).finally(
    first.stop,
  );
  const { dataKeyId } = await databases.settle();

  const running: Running[] = [];
  for (const name of names) {
    const { script, dialect } = servers[name];
    const isPeer = name !== 'product';
    const DATABASE_URL = await databases.copy(name, isPeer);
    const given = isPeer
      ? { SEAL_KEY: randomBytes(32).toString('base64'), DATA_KEY_ID: dataKeyId, GRAPHILE_ENV: 'production' }
      : settings;
    const started = stack.adopt(await start(script, { DATABASE_URL, ...given }), ({ stop }) => stop());
    running.push({ ...started, headers, dialect, name });
  }
  const all = stack.move();
  return { running, ids, oktaUrl: okta.url, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

async function seed(client: Client, instanceUrl: string): Promise<string[]> {
  const ids: string[] = [];
  let next = 0;
  const work = async () => {
    for (let index = next++; index < seeds; index = next++) {
      const { id } = await ask(client, 'create', {
        name: `seed-${String(index).padStart(4, '0')}`,
        description: `Number ${index} of those that are there from the start.`,
        credentials: { instanceUrl, apiToken: `token-${index}` },
      });
      ids.push(id);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return ids;
}
