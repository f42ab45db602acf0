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
export function describeConnectionFailure(error: unknown, location: DatabaseLocation): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string') {
      const other = /^[0-9A-Z]{5}$/.test(code) ? 'it refuses a statement' : 'it cannot be used';
      return `${reasons[code] ?? other} (${code})`;
    }
    const [, known] = messages.find(([pattern]) => pattern.test(String(cause))) ?? [];
    if (known) return known;
  }
  return location.kind === 'embedded' ? 'it cannot be opened; it is damaged' : 'it cannot be opened';
}

/** Messages of the driver for errors without a code. */
const messages: readonly (readonly [RegExp, string])[] = [
  [/does not support SSL/, 'the server there speaks no TLS, and sslmode asks for it'],
  [
    /URI malformed|Invalid URL/,
    'it is no URL; write @ : / ? # % & in a user or password as %40 %3A %2F %3F %23 %25 %26',
  ],
  [/timeout expired|timeout exceeded/, 'the host did not answer in time'],
  [/Connection terminated/, 'the host hung up; is it a PostgreSQL?'],
  [/password must be a string/, 'the server asks for a password, and there is none'],
];

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; is PostgreSQL running?',
  ECONNRESET: 'the host hung up; is it a PostgreSQL?',
  EHOSTUNREACH: 'there is no way to the host',
  ENETUNREACH: 'there is no way to the host',
  ENOENT: 'a file that it names is not there',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the name of the host cannot be looked up now',
  ETIMEDOUT: 'the host did not answer in time',
  ERR_INVALID_URL: 'it is no URL; write @ : / ? # % & in a user or password as %40 %3A %2F %3F %23 %25 %26',
  CERT_HAS_EXPIRED: 'the certificate of the host has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'no authority has signed the certificate; name it in sslrootcert',
  SELF_SIGNED_CERT_IN_CHAIN: 'the authority of the certificate is unknown; name it in sslrootcert',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the authority of the certificate is unknown; name it in sslrootcert',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another host',
  EACCES: 'the folder may not be read or written',
  '28P01': 'the password is wrong',
  '28000': 'this user may not connect',
  '3D000': 'there is no such database; create it first',
  '53300': 'it has no connection left',
  '57P03': 'it is starting or stopping; try again',
  '53100': 'its disk is full',
  '25006': 'it is a standby, which takes no changes',
  '42501':
    'this user may not create tables or roles; docs/operations/postgresql.md has the SQL with which an administrator allows it',
};
