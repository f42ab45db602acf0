import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Client, sendOperation } from './client.ts';
import { createDatabases, type Databases, withClient } from './databases.ts';
import { type Dialect, graphql } from './operations.ts';
import { type Started, start } from './processes.ts';
import { type ServerName, servers } from './servers.ts';

/** The Node options of the product's start script. */
const { scripts } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
export const startFlags: string[] = scripts.start.match(/--\S+/g);

/** A running server with the same thousand connections as all others. */
export type Running<Name extends string = ServerName> = Started & Client & { name: Name };

/** An organisation with its API key and the ids of its connections. */
export interface Organisation {
  key: string;
  ids: string[];
}

/** All compared servers, running. */
export interface ComparedServers extends AsyncDisposable {
  running: Running[];
  /** The first has a thousand connections, the others copies of some of them. */
  organisations: Organisation[];
  /** The fake Okta that all of them call. */
  oktaUrl: string;
}

/** A database with a thousand connections, and the means to start servers on copies of it. */
export interface Fixture extends AsyncDisposable {
  databases: Databases;
  organisations: Organisation[];
  /** The ids of the connections of the first organisation. */
  ids: string[];
  oktaUrl: string;
  /** The data key that encrypts all credentials. */
  dataKeyId: string;
  /** The environment of the product. */
  settings: Record<string, string>;
  /** Starts a server, by default the product. */
  serve<Name extends string>(name: Name, databaseUrl: string, options?: ServeOptions): Promise<Running<Name>>;
}

/** Overrides of the product's start. */
export interface ServeOptions {
  script?: string | URL;
  dialect?: Dialect;
  environment?: Record<string, string>;
  /** Node options; by default those of the product's start script. */
  flags?: string[];
}

const seedCount = 1_000;
const organisationCount = 50;
const concurrentCreates = 8;

/** Creates a database with a thousand connections through the product. */
export async function prepareFixture(): Promise<Fixture> {
  await using stack = new AsyncDisposableStack();
  const databases = stack.use(await createDatabases());
  const okta = stack.use(await start('okta.ts'));
  const keys = Array.from({ length: organisationCount }, () => `bench_${randomBytes(24).toString('hex')}`);
  const [key = '', ...otherKeys] = keys;
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
  const serve: Fixture['serve'] = async (name, DATABASE_URL, options = {}) => {
    const { script = 'product.ts', dialect = graphql, environment = settings, flags = startFlags } = options;
    return { ...(await start(script, { DATABASE_URL, ...environment }, flags)), headers, dialect, name };
  };

  {
    const environment = { ...settings, OTHER_API_KEYS: otherKeys.join(',') };
    await using first = await serve('first', databases.first, { environment });
    await seed(first, okta.url);
  }
  const { dataKeyId, organisations } = await databases.settle(keys);
  const ids = organisations[0]?.ids ?? [];
  const all = stack.move();
  return {
    ...{ databases, organisations, ids, oktaUrl: okta.url, dataKeyId, settings, serve },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** Starts every server on a copy of a database with a thousand connections. */
export async function startServers(names: ServerName[]): Promise<ComparedServers> {
  await using stack = new AsyncDisposableStack();
  const { databases, organisations, oktaUrl, dataKeyId, serve } = stack.use(await prepareFixture());
  const running: Running[] = [];
  for (const name of names) {
    const isPeer = name !== 'product';
    const peerEnvironment = {
      SEAL_KEY: randomBytes(32).toString('base64'),
      DATA_KEY_ID: dataKeyId,
      GRAPHILE_ENV: 'production',
    };
    const database = await databases.copy(name, !isPeer);
    // Peers have no keys for the MACs of rows.
    if (isPeer) {
      await withClient(database, (client) =>
        client.query('alter table app_connection alter column mac drop not null'),
      );
    }
    const server = await serve(name, database, {
      ...servers[name],
      ...(isPeer && { environment: peerEnvironment, flags: [] }),
    });
    running.push(stack.use(server));
  }
  const all = stack.move();
  return { running, organisations, oktaUrl, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

async function seed(client: Client, instanceUrl: string): Promise<void> {
  let next = 0;
  const work = async () => {
    for (let index = next++; index < seedCount; index = next++) {
      await sendOperation(client, 'create', {
        name: `seed-${String(index).padStart(4, '0')}`,
        description: `Connection ${index} of the fixture.`,
        credentials: { instanceUrl, apiToken: `token-${index}` },
      });
    }
  };
  await Promise.all(Array.from({ length: concurrentCreates }, work));
}
