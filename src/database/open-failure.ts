import { InvalidConnectionString } from './connection-string.ts';
import type { DatabaseLocation } from './location.ts';

/** Describes the location of a database without parts of its URL. */
export function describeLocation(location: DatabaseLocation): string {
  return location.kind === 'postgresql'
    ? 'DATABASE_URL'
    : `the embedded database in ${location.folder ?? 'memory'}`;
}

/**
 * Describes why a database cannot be opened. It repeats the codes of PostgreSQL and of the operating system, but no
 * messages, because they may contain the URL.
 */
export function describeConnectionFailure(error: unknown, kind: DatabaseLocation['kind']): string {
  if (error instanceof InvalidConnectionString) return error.message;
  for (
    let cause = error;
    typeof cause === 'object' && cause !== null;
    cause = 'cause' in cause ? cause.cause : undefined
  ) {
    const { code: given, errno }: { code?: unknown; errno?: unknown } = cause;
    const code = kind === 'embedded' ? (wasiErrors[Number(errno ?? given)] ?? given) : given;
    if (typeof code === 'string') {
      const other = /^[0-9A-Z]{5}$/.test(code) ? 'it rejected a statement' : 'it cannot be used';
      return `${reasons[code] ?? other} (${code})`;
    }
    const [, known] = messages.find(([pattern]) => pattern.test(String(cause))) ?? [];
    if (known) return known;
  }
  return kind === 'embedded'
    ? 'it cannot be opened and may be damaged; restore it from a backup'
    : 'it cannot be opened';
}

const unknownAuthority =
  'the certificate authority is unknown; set sslrootcert in the URL to the file of its certificate';

/** Messages of the driver for errors without a code. */
const messages: readonly (readonly [RegExp, string])[] = [
  [
    /does not support SSL/,
    'the server does not support TLS, but sslmode requires it; sslmode=disable connects without',
  ],
  [/timeout expired|timeout exceeded/, 'the host did not respond in time'],
  [/Connection terminated/, 'the host closed the connection; is it a PostgreSQL server?'],
  [/password must be a string/, 'the server requires a password; add one to the URL'],
];

/** Error numbers of WASI, which PGlite and the process that creates its folder report. */
const wasiErrors: Readonly<Record<number, string>> = {
  2: 'EACCES',
  19: 'EDQUOT',
  29: 'EIO',
  33: 'EMFILE',
  41: 'ENFILE',
  51: 'ENOSPC',
  63: 'EPERM',
  69: 'EROFS',
};

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the host refused the connection; is PostgreSQL running?',
  ECONNRESET: 'the host closed the connection; is it a PostgreSQL server?',
  EHOSTUNREACH: 'the host is unreachable',
  ENETUNREACH: 'the network is unreachable',
  ENOENT: 'a file that it refers to does not exist',
  ENOTFOUND: 'the host name does not exist',
  EAI_AGAIN: 'the host name cannot be resolved at the moment',
  ETIMEDOUT: 'the host did not respond in time',
  CERT_HAS_EXPIRED: 'the certificate of the host has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed; set sslrootcert in the URL to its file',
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another host name or address',
  EACCES: 'the folder cannot be read or written; check its permissions',
  EPERM: 'the folder cannot be read or written; check its permissions',
  EROFS: 'its file system is read-only',
  ENOSPC: 'its file system has no free space or inodes',
  EDQUOT: 'its disk quota is exceeded',
  EIO: 'its disk has failed',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  '28P01': 'the password is wrong',
  '28000': 'this user may not connect',
  '3D000': 'the database does not exist; create it first',
  '53300':
    'it has no free connection; lower DATABASE_POOL_SIZE of the servers, or raise max_connections or the limit of the user',
  '08P01':
    'a pooler refused the user or a parameter; add the user to auth_file of PgBouncer, or remove options from the URL or add them to ignore_startup_parameters',
  '57P03': 'it is starting or stopping; retry later',
  '53100': 'its disk is full',
  '25006': 'it is a read-only standby; connect to the primary',
  '42501':
    'this user may not create tables or roles; docs/operations/postgresql.md has the SQL with which an administrator allows it',
};
