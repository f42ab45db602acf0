import type { ErrorCode } from '../common/errors.ts';
import type { Secret } from '../common/secret.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { Credentials } from './credentials.ts';

/** The public part of a key pair. */
export interface PublicKey {
  /** Names the key to the app. */
  keyId: string;
  /** The public key as a JWK (RFC 7517), without private members. */
  publicJwk: Readonly<Record<string, string>>;
}

/** A private key that is ready for use, with its public part. */
export interface KeyPair {
  /** The value of the secret field. */
  privateKey: Secret;
  publicKey: PublicKey;
}

/** What changes about the keys that an app keeps. */
export interface KeysToRegister {
  add?: PublicKey;
  /** The ids of keys. */
  remove?: readonly string[];
  /** Whether the key of the credentials can be among them, which is removed last. Otherwise it stays. */
  removesOwn?: boolean;
  /** Whether a key of `remove` is in use again. It is called right before the key is removed; a key in use stays. */
  isUsed?(keyId: string): Promise<boolean>;
}

/** Why an app has not added or removed keys, and what to do. Whole sentences, which name the keys. */
export interface KeyRegistrationFailure {
  code: ErrorCode;
  message: string;
  remedy: string;
}

/**
 * `UNSUPPORTED`: the credentials do not allow it, or the app fetches the keys. `FAILED`: it can be tried again. `left`: the ids of those
 * that were to be removed and were not, if it is not all of them.
 */
export type KeyRegistration =
  | { status: 'DONE' | 'UNSUPPORTED' }
  | ({ status: 'FAILED'; left?: readonly string[] } & KeyRegistrationFailure);

/** How a method authenticates with a key pair, which this server can make. Nobody ever sees its private key then. */
export interface ManagedKeys<Session = unknown> {
  /** The optional `SECRET` field with the private key. If a new connection has no value for it, this server makes the key pair. */
  privateKeyField: string;
  /** The optional public field with the id of a caller's own key, if there is one. */
  keyIdField?: string;
  /** Makes a key pair. */
  generate(): Promise<KeyPair>;
  /**
   * Reads the private key in the credentials.
   *
   * @throws InvalidKeyError if the app cannot use it
   */
  read(credentials: Credentials): Promise<KeyPair>;
  /** Whether the credentials may allow `register`. Without a value, they never do. */
  mayRegister?(credentials: Pick<Credentials, 'public'>): boolean;
  /**
   * Adds and removes keys at the app, which the credentials may be allowed to do. It can be repeated. Absent: only a person can.
   *
   * @param credentials those in use; for `removesOwn`, those that others have replaced
   * @param session that of the connection
   * @throws OutboundError if `signal` aborts
   */
  register?(
    credentials: Credentials,
    keys: KeysToRegister,
    outbound: Outbound,
    signal: AbortSignal | undefined,
    session: Session,
  ): Promise<KeyRegistration>;
  /** Absent: the app keeps the keys of all connections in one place. */
  client?: {
    /** The public field that names the client of the app that has the keys. With another value, keys stay at the former client. */
    field: string;
    /** Says which keys of this server a client may still have that the connection no longer uses, and what a person does there. */
    describeLeft(former: Credentials['public'], keyIds: readonly string[]): KeyRegistrationFailure;
  };
  /** What a connection says until the app knows its key. */
  pending: { message: string; remedy: string };
}

/** A private key that cannot be used. The message says why and what to do, and has no part of the key. */
export class InvalidKeyError extends Error {
  override readonly name = 'InvalidKeyError';
}
