import { StartupError } from '../common/errors.ts';
import { type ConnectionString, parseConnectionString } from './connection-string.ts';
import { type ConnectHook, loadPg, type PlainClient, type ServerOptions } from './driver/pg.ts';
import { toDriverOptions } from './driver-options.ts';
import type { PostgresqlLocation } from './location.ts';

/** The longest wait for a connection, in milliseconds. */
export const connectionTimeoutMs = 5_000;

/** A server that can be used. */
export interface PostgresqlServer {
  /** The options of a connection. */
  options: ServerOptions;
  /** The schema of the tables. */
  schema: string;
  /** Whether a pooler or another proxy stands before PostgreSQL. */
  isPooled: boolean;
  /** Differs between databases, and between runs of PostgreSQL. */
  databaseId: string;
}

/** What a server says about itself. */
interface ServerFacts {
  version: number;
  encoding: string;
  isStandby: boolean;
  schema: string | null;
  /** The process id of the backend. */
  pid: number;
  databaseId: string;
  /** Whether the schema is the user's own, of which other roles in the same session do not think first. */
  isOwnSchema: boolean;
}

/**
 * Connects to the hosts of a URL in their order, and returns the first that the server can use.
 *
 * @param setting the environment variable of the URL
 * @throws StartupError, or the driver's error, for the first host if there is none
 */
export async function findServer(
  location: PostgresqlLocation,
  setting = 'DATABASE_URL',
): Promise<PostgresqlServer> {
  const connection = parseConnectionString(location.url.reveal());
  const failures: unknown[] = [];
  for (const host of connection.hosts) {
    const options = toDriverOptions(connection, host);
    try {
      return { options, ...(await checkServer(options, connection, location, setting)) };
    } catch (error) {
      failures.push(error);
    }
  }
  throw failures[0];
}

/**
 * Returns a hook that overrides settings of servers, databases and users on a connection. The first four change how values
 * are written and read. The schema stays the same when the role changes, although `"$user"` in a search path does not.
 * Poolers refuse most settings while a connection is opened, so they are applied afterwards.
 *
 * @param timeoutMs the longest wait for them
 */
export function applySettings(
  { schema, isPooled }: Pick<PostgresqlServer, 'schema' | 'isPooled'>,
  timeoutMs: number,
): ConnectHook {
  const format = `select set_config('datestyle', 'ISO, MDY', false), set_config('intervalstyle', 'postgres', false),
    set_config('timezone', 'UTC', false), set_config('standard_conforming_strings', 'on', false)`;
  const statement = isPooled
    ? { text: format, values: [] }
    : { text: `${format}, set_config('search_path', quote_ident($1), false)`, values: [schema] };
  return async (client) => {
    await client.query({ ...statement, query_timeout: timeoutMs });
  };
}

async function checkServer(
  options: ServerOptions,
  { parameters }: ConnectionString,
  { schema }: PostgresqlLocation,
  setting: string,
): Promise<Omit<PostgresqlServer, 'options'>> {
  const { Client } = loadPg();
  const client = new Client({
    ...options,
    connectionTimeoutMillis: connectionTimeoutMs,
    query_timeout: connectionTimeoutMs,
  });
  // A lost connection fails the statement too, and an error without a listener ends the process.
  client.on('error', () => {});
  await client.connect();
  try {
    const searchPath = parameters.get('search_path');
    const hasSearchPath = schema !== undefined || searchPath !== undefined;
    let facts = await readFacts(client);
    const isPooled = facts.pid !== client.processID;
    // A pooler in transaction mode loses the search path of a session, or leaves it to another program.
    if (isPooled && (hasSearchPath || facts.isOwnSchema)) {
      throw new StartupError(
        `${setting}: behind a pooler, the search path must be a setting of the user: alter role … set search_path = …`,
      );
    }
    if (hasSearchPath) {
      if (schema !== undefined) await setSearchPath(client, 'quote_ident($1)', schema);
      else await setSearchPath(client, '$1', searchPath ?? '');
      facts = await readFacts(client);
    }
    return { schema: assertUsable(facts, schema, setting), isPooled, databaseId: facts.databaseId };
  } finally {
    await client.end();
  }
}

async function setSearchPath(client: PlainClient, expression: string, value: string): Promise<void> {
  await client.query(`select set_config('search_path', ${expression}, false)`, [value]);
}

async function readFacts(client: PlainClient): Promise<ServerFacts> {
  const { rows } = await client.query(`select version, encoding, "isStandby", pid, "databaseId", schema,
      schema = session_user and position('$user' in current_setting('search_path')) > 0 as "isOwnSchema"
    from (select current_setting('server_version_num')::int as version,
      current_setting('server_encoding') as encoding, pg_is_in_recovery() as "isStandby", pg_backend_pid() as pid,
      (select oid from pg_database where datname = current_database())
        || ' ' || extract(epoch from pg_postmaster_start_time()) as "databaseId",
      coalesce((select nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where pg_class.oid = to_regclass('app_connection')), current_schema()) as schema) facts`);
  return rows[0] as ServerFacts;
}

/** Returns the schema of the tables. */
function assertUsable(
  { version, encoding, isStandby, schema }: ServerFacts,
  wanted: string | undefined,
  setting: string,
): string {
  if (version < 150_000) {
    throw new StartupError(
      `${setting}: PostgreSQL 15 or newer is required; the server has version ${Math.floor(version / 10_000)}`,
    );
  }
  if (isStandby) throw new StartupError(`${setting}: it is a read-only standby; connect to the primary`);
  if (encoding !== 'UTF8') {
    throw new StartupError(
      `${setting}: the database has the encoding ${encoding}; create one with: create database … encoding 'UTF8' template template0`,
    );
  }
  if (schema !== null) return schema;
  throw new StartupError(
    wanted === undefined
      ? `${setting}: no schema of the search path exists; create one, or set DATABASE_SCHEMA`
      : 'DATABASE_SCHEMA: this schema does not exist, or the user may not use it; an administrator creates it with: create schema … authorization …',
  );
}
