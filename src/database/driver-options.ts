import { isIP } from 'node:net';
import { readSmallFile, UnusableFile } from '../common/configured-file.ts';
import { type ConnectionString, type DatabaseHost, InvalidConnectionString } from './connection-string.ts';
import type { ServerOptions, TlsOptions } from './driver/pg.ts';

/**
 * Returns the options with which pg connects to one of the hosts.
 *
 * @throws InvalidConnectionString if a file of TLS cannot be read
 */
export function toDriverOptions(
  { database, parameters }: ConnectionString,
  server: DatabaseHost,
): ServerOptions {
  const given = <Name extends string>(...names: Name[]) =>
    Object.fromEntries(names.flatMap((name) => (parameters.has(name) ? [[name, parameters.get(name)]] : [])));
  return {
    host: server.name ?? server.host,
    address: server.host,
    port: server.port,
    database,
    ...given('user', 'password', 'options', 'application_name', 'sslnegotiation'),
    ...(parameters.get('channel_binding') === 'require' && { enableChannelBinding: true }),
    ssl: readTlsOptions(parameters, server),
  };
}

/** Except with `uselibpqcompat`, every mode but `disable` and `no-verify` verifies the certificate and the host name. */
function readTlsOptions(parameters: ReadonlyMap<string, string>, server: DatabaseHost): false | TlsOptions {
  const mode = parameters.get('sslmode') ?? legacyMode(parameters);
  // PostgreSQL has no TLS on Unix sockets, and libpq ignores the mode there.
  if (!mode || mode === 'disable' || server.host.startsWith('/')) return false;
  const root = parameters.get('sslrootcert');
  const read = (name: string) => {
    const path = parameters.get(name);
    return path && { [name]: readFile(name, path) };
  };
  const files: Record<string, string> = {
    ...(root !== 'system' && read('sslrootcert')),
    ...read('sslcert'),
    ...read('sslkey'),
  };
  const options: TlsOptions = {
    // Without it, Node would compare the certificate of an IP address with the name "localhost".
    host: server.name ?? server.host,
    ...(server.name && isIP(server.name) === 0 && { servername: server.name }),
    ...(files.sslrootcert && { ca: files.sslrootcert }),
    ...(files.sslcert && { cert: files.sslcert }),
    ...(files.sslkey && { key: files.sslkey }),
    ...(parameters.has('sslpassword') && { passphrase: parameters.get('sslpassword') }),
  };
  if (mode === 'no-verify') return { ...options, rejectUnauthorized: false };
  if (parameters.get('uselibpqcompat') !== 'true' || mode === 'verify-full') return options;
  if (files.sslrootcert && (mode === 'require' || mode === 'verify-ca'))
    return { ...options, checkServerIdentity: () => undefined };
  if (mode === 'verify-ca') throw new InvalidConnectionString('sslmode=verify-ca needs sslrootcert');
  return { ...options, rejectUnauthorized: false };
}

/** The mode of a URL in which only files, or pg's own parameter `ssl`, ask for TLS. */
function legacyMode(parameters: ReadonlyMap<string, string>): string | undefined {
  const ssl = parameters.get('ssl');
  if (ssl === 'no-verify') return 'no-verify';
  const asks = ssl === 'true' || ssl === '1' || parameters.get('sslnegotiation') === 'direct';
  return asks || parameters.has('sslrootcert') || parameters.has('sslcert') ? 'verify-full' : undefined;
}

function readFile(name: string, path: string): string {
  try {
    const text = readSmallFile(path).toString();
    if (!text.includes('-----BEGIN ')) throw new InvalidConnectionString(`${name} is not a PEM file`);
    return text;
  } catch (error) {
    if (error instanceof UnusableFile) throw new InvalidConnectionString(`${name} ${error.message}`);
    throw error;
  }
}
