import { isIP } from 'node:net';
import { StartupError } from '../common/errors.ts';
import { type ConnectionString, type DatabaseHost, parseConnectionString } from './connection-string.ts';
import { lookUpAddresses } from './driver/look-up.ts';
import { loadPg, type PlainClient, type ServerOptions } from './driver/pg.ts';
import { readOnlyCode } from './driver/primary-client.ts';
import { toDriverOptions } from './driver-options.ts';
import { firstSuccess } from './first-success.ts';
import type { PostgresqlLocation } from './location.ts';

/** The longest wait for a connection, in milliseconds. */
export const connectionTimeoutMs = 5_000;

/** A server that can be used. */
export interface PostgresqlServer {
  /** The host in the URL. */
  host: DatabaseHost;
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
  isReadOnly: boolean;
  schema: string | null;
  /** The process id of the backend. */
  pid: number;
  databaseId: string;
  /** Whether the schema is the user's own, which other roles in the same session do not search first. */
  isOwnSchema: boolean;
}

/** A server accepts no changes. */
export class ReadOnlyServerError extends StartupError {
  /** PostgreSQL's `read_only_sql_transaction`. */
  readonly code = readOnlyCode;

  /** @param subject the environment variable of the URL */
  constructor({ isStandby }: Pick<ServerFacts, 'isStandby'>, subject = 'the database') {
    const reason = isStandby
      ? 'it is a read-only standby; connect to the primary'
      : 'it accepts no changes, because default_transaction_read_only is on; set it to off for the server, the database and the user';
    super(`${subject}: ${reason}`);
  }
}

/**
 * Connects to the hosts of a URL in their order, each with all of its addresses, and returns the first server that accepts
 * changes.
 *
 * @param setting the environment variable of the URL
 * @throws StartupError, or the driver's error, for the first host if there is none
 */
export async function findServer(
  location: PostgresqlLocation,
  setting = 'DATABASE_URL',
): Promise<PostgresqlServer> {
  const connection = parseConnectionString(location.url.reveal());
  const tryHost = async (host: DatabaseHost) => {
    const addresses = await lookUp(host);
    const attempts = addresses.map((address) => async () => {
      const options = toDriverOptions(connection, address);
      return { host, options, ...(await checkServer(options, connection, location, setting)) };
    });
    return firstSuccess(attempts, connectionTimeoutMs);
  };
  return firstSuccess(
    connection.hosts.map((host) => () => tryHost(host)),
    connectionTimeoutMs,
  );
}

/**
 * Whether the host of a server still has its address.
 *
 * @throws the error of the look-up
 */
export async function isStillAt({ host, options }: PostgresqlServer): Promise<boolean> {
  const addresses = await lookUp(host);
  return addresses.some((address) => address.host === options.address);
}

async function lookUp(host: DatabaseHost): Promise<DatabaseHost[]> {
  const isName = host.name === undefined && isIP(host.host) === 0 && !host.host.startsWith('/');
  if (!isName) return [host];
  const addresses = await lookUpAddresses(host.host);
  return addresses.map((address) => ({ host: address, port: host.port, name: host.host }));
}

/**
 * Overrides settings of servers, databases and users on a new connection. The first four change how values are written and
 * read. The schema stays the same when the role changes, although `"$user"` in a search path does not. Poolers refuse most
 * settings while a connection is opened, so they are applied afterwards.
 *
 * @param timeoutMs the longest wait
 * @returns the id of the database
 * @throws ReadOnlyServerError
 */
export async function prepareConnection(
  client: PlainClient,
  { schema, isPooled }: Pick<PostgresqlServer, 'schema' | 'isPooled'>,
  timeoutMs: number,
): Promise<string> {
  const text = `select ${writabilityColumns}, ${databaseIdColumn},
    set_config('datestyle', 'ISO, MDY', false), set_config('intervalstyle', 'postgres', false),
    set_config('timezone', 'UTC', false), set_config('standard_conforming_strings', 'on', false)`;
  const statement = isPooled
    ? { text, values: [] }
    : { text: `${text}, set_config('search_path', quote_ident($1), false)`, values: [schema] };
  const { rows } = await client.query({ ...statement, query_timeout: timeoutMs });
  const facts = rows[0] as Pick<ServerFacts, 'isReadOnly' | 'isStandby' | 'databaseId'>;
  if (facts.isReadOnly) throw new ReadOnlyServerError(facts);
  return facts.databaseId;
}

/** The columns with which a server says whether it accepts changes. */
export const writabilityColumns = `pg_is_in_recovery() as "isStandby", current_setting('transaction_read_only')::boolean as "isReadOnly"`;
const databaseIdColumn = `(select oid from pg_database where datname = current_database())
  || ' ' || extract(epoch from pg_postmaster_start_time()) as "databaseId"`;

async function checkServer(
  options: ServerOptions,
  { parameters }: ConnectionString,
  { schema }: PostgresqlLocation,
  setting: string,
): Promise<Omit<PostgresqlServer, 'host' | 'options'>> {
  const { Client } = loadPg();
  const client = new Client({
    ...options,
    connectionTimeoutMillis: connectionTimeoutMs,
    query_timeout: connectionTimeoutMs,
  });
  client.host = options.address;
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
  const { rows } =
    await client.query(`select version, encoding, "isStandby", "isReadOnly", pid, "databaseId", schema,
      schema = session_user and position('$user' in current_setting('search_path')) > 0 as "isOwnSchema"
    from (select current_setting('server_version_num')::int as version,
      current_setting('server_encoding') as encoding, ${writabilityColumns}, pg_backend_pid() as pid, ${databaseIdColumn},
      coalesce((select nspname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where pg_class.oid = to_regclass('app_connection')), current_schema()) as schema) facts`);
  return rows[0] as ServerFacts;
}

/** Returns the schema of the tables. */
function assertUsable(
  { version, encoding, isStandby, isReadOnly, schema }: ServerFacts,
  wanted: string | undefined,
  setting: string,
): string {
  if (version < 150_000) {
    throw new StartupError(
      `${setting}: PostgreSQL 15 or newer is required; the server has version ${Math.floor(version / 10_000)}`,
    );
  }
  if (isReadOnly) throw new ReadOnlyServerError({ isStandby }, setting);
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
