/** A server that a connection string names. */
export interface DatabaseHost {
  /** A host name, an IP address, or the folder of a Unix socket. */
  host: string;
  port: number;
  /** The host name that the certificate must have, if `host` is only its address. */
  name?: string;
}

/** The parts of a connection string, decoded. */
export interface ConnectionString {
  /** The servers in the order in which to try them. */
  hosts: readonly [DatabaseHost, ...DatabaseHost[]];
  database: string;
  /** The other parameters, by the names that libpq has for them. */
  parameters: ReadonlyMap<string, string>;
}

/** A connection string that cannot be used. The message continues a sentence that starts with the name of its setting. */
export class InvalidConnectionString extends Error {}

const example = 'postgresql://user:password@host:5432/database';
const encoding =
  'in user and password, write @ : / ? # % & as %40 %3A %2F %3F %23 %25 %26, and a folder of a socket as ?host=/folder';

/** The parameters of libpq that environment variables give where a connection string does not. */
const environmentParameters: Readonly<Record<string, string>> = {
  PGHOST: 'host',
  PGHOSTADDR: 'hostaddr',
  PGPORT: 'port',
  PGUSER: 'user',
  PGPASSWORD: 'password',
  PGDATABASE: 'dbname',
  PGOPTIONS: 'options',
  PGAPPNAME: 'application_name',
  PGSSLMODE: 'sslmode',
  PGSSLROOTCERT: 'sslrootcert',
  PGSSLCERT: 'sslcert',
  PGSSLKEY: 'sslkey',
  PGSSLNEGOTIATION: 'sslnegotiation',
  PGSSLCRL: 'sslcrl',
  PGCHANNELBINDING: 'channel_binding',
  PGTARGETSESSIONATTRS: 'target_session_attrs',
  PGSERVICE: 'service',
};

/** What to do instead of using a parameter that this server does not support. */
const unsupported: Readonly<Record<string, string>> = {
  service: 'write its host, user and database into the URL',
  passfile: 'set PGPASSFILE instead',
  sslcrl: 'remove it',
  schema: 'set DATABASE_SCHEMA instead',
  currentSchema: 'set DATABASE_SCHEMA instead',
};

const sslModes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];

/** Parts that a connection string has, before defaults. */
interface Parts {
  /** Hosts with an optional port. */
  authority: string;
  parameters: Map<string, string>;
}

/**
 * Parses a connection URL as libpq does, including several hosts
 * (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS). pg's own parser supports one host, and
 * splits passwords with unencoded characters at the wrong place.
 *
 * @throws InvalidConnectionString
 */
export function parseConnectionString(url: string): ConnectionString {
  const { authority, parameters } = split(url);
  for (const [name, remedy] of Object.entries(unsupported)) {
    if (parameters.has(name)) throw new InvalidConnectionString(`must not have ${name}; ${remedy}`);
  }
  const database = parameters.get('dbname');
  if (!database) throw new InvalidConnectionString(`must name a database: ${example}`);
  const sslmode = parameters.get('sslmode');
  if (sslmode && !sslModes.includes(sslmode))
    throw new InvalidConnectionString(`must have an sslmode out of ${sslModes.join(', ')}`);
  const target = parameters.get('target_session_attrs');
  if (target && !['any', 'read-write', 'primary'].includes(target)) {
    throw new InvalidConnectionString(
      'must have target_session_attrs=read-write, or none: the server needs a database that it can write to',
    );
  }
  return { hosts: parseHosts(authority, parameters), database, parameters };
}

/** Adds the `PG…` variables of the environment for parts that a connection string does not have, as libpq does. */
export function addEnvironment(url: string, variables: Readonly<Record<string, string | undefined>>): string {
  const { authority, parameters } = split(url);
  const hasHost = /[^:\d,]/.test(authority) || parameters.has('host') || parameters.has('hostaddr');
  const hasPort = /:\d+$/.test(authority);
  const added = Object.entries(environmentParameters).flatMap(([variable, name]) => {
    const value = variables[variable];
    if (!value || parameters.has(name)) return [];
    if ((name === 'host' || name === 'hostaddr') && hasHost) return [];
    if (name === 'port' && hasPort) return [];
    return [`${name}=${encodeURIComponent(value)}`];
  });
  if (added.length === 0) return url;
  return `${url}${url.includes('?', url.lastIndexOf('@') + 1) ? '&' : '?'}${added.join('&')}`;
}

/** Splits at the same characters as libpq, so that only `/` and `@` in passwords are ambiguous. */
function split(url: string): Parts {
  const [, beforePath = '', rest = ''] = /^postgres(?:ql)?:\/\/([^/]*)(.*)$/s.exec(url) ?? [];
  const at = beforePath.lastIndexOf('@');
  const [authority = '', ...queryWithoutPath] = beforePath.slice(at + 1).split('?');
  const [path = '', ...query] = rest.slice(1).split('?');
  // An @ after the host is part of a password with a /, at which the URL was split too early.
  if (path.includes('@')) throw new InvalidConnectionString(`must be a URL such as ${example}; ${encoding}`);
  const [user = '', ...password] = at < 0 ? [] : beforePath.slice(0, at).split(':');
  const parameters = new Map<string, string>();
  const set = (name: string, value: string) => {
    if (value !== '') parameters.set(name, decode(value));
  };
  set('user', user);
  set('password', password.join(':'));
  set('dbname', path);
  for (const pair of [...queryWithoutPath, ...query].join('?').split('&')) {
    const [name = '', ...value] = pair.split('=');
    // URLs of forms write a space as a plus sign, and options have spaces.
    set(decode(name), name === 'options' ? value.join('=').replaceAll('+', '%20') : value.join('='));
  }
  return { authority, parameters };
}

/** Decodes `%` and two digits; a `%` that is followed by something else stands for itself. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text.replace(/%(?![\da-f]{2})/gi, '%25'));
  } catch {
    throw new InvalidConnectionString(`must encode UTF-8; ${encoding}`);
  }
}

function parseHosts(authority: string, parameters: ReadonlyMap<string, string>): ConnectionString['hosts'] {
  const inAuthority = authority.split(',').map((entry) => {
    const [, bracketed, plain = '', port = ''] =
      /^(?:\[([\da-f:.%\w]+)\]|([^:[\]]*))(?::([^:]*))?$/i.exec(entry) ?? [];
    if (bracketed === undefined && plain === '' && entry !== '' && port === '')
      throw new InvalidConnectionString(`must be a URL such as ${example}; ${encoding}`);
    return { host: bracketed ?? decode(plain), port };
  });
  const list = (name: string) => parameters.get(name)?.split(',');
  const names = list('host') ?? inAuthority.map(({ host }) => host);
  const addresses = list('hostaddr');
  const ports = list('port') ?? inAuthority.map(({ port }) => port);
  const count = Math.max(names.length, addresses?.length ?? 0);
  if (
    (addresses && names.length > 1 && addresses.length !== names.length) ||
    (ports.length > 1 && ports.length !== count)
  )
    throw new InvalidConnectionString('must have as many ports and addresses as hosts');
  const toHost = (index: number): DatabaseHost => {
    const name = names[index] || 'localhost';
    const address = addresses?.[index];
    const port = (ports.length === 1 ? ports[0] : ports[index]) || '5432';
    if (!/^\d{1,5}$/.test(port) || Number(port) === 0 || Number(port) > 65_535)
      throw new InvalidConnectionString(`must have a port from 1 to 65535; ${encoding}`);
    return { host: address || name, port: Number(port), ...(address && { name }) };
  };
  return [toHost(0), ...Array.from({ length: count - 1 }, (_, index) => toHost(index + 1))];
}
