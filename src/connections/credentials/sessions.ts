import { LRUCache } from 'lru-cache';
import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials, VerificationResult } from '../../apps/credentials.ts';
import type { Database } from '../../database/database.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import type { ConnectionDeps } from '../deps.ts';
import { hashCredentials } from './seal.ts';

/** The most sessions of a server. */
const maxSessions = 1_000;

/** By connection and credentials. */
const ofDatabases = new WeakMap<Database, LRUCache<string, object>>();

/** The credentials of a session. */
interface SessionOwner {
  connectionId: string;
  /** `AppConnection.credentialsHash` */
  credentialsHash: string;
}

/**
 * Returns what the method of a connection keeps in the memory of this server as long as its credentials stay the same, and creates
 * it if there is nothing. It belongs to the credentials, so that those that replace them have another one.
 */
export function findSession(
  { database }: Pick<ConnectionDeps, 'database'>,
  { createSession }: AuthMethod,
  owner: SessionOwner,
  credentials: Credentials,
): unknown {
  return findKept(database, owner) ?? keepSession(database, owner, createSession?.(credentials));
}

/** How to verify credentials with the session of their connection. */
export interface SessionOptions {
  /** Aborts the verification. */
  signal?: AbortSignal | undefined;
  /** The connection that has the credentials, or gets them if the app accepts them; absent if there is none. */
  connectionId?: string | undefined;
  /** As in `VerifyOptions`. */
  mayReuseToken?: boolean;
  wantsDetails?: boolean;
}

/**
 * Verifies credentials with the session of their connection. Access tokens of credentials that the app has accepted are kept for
 * the requests through the connection; those of others are not.
 *
 * @throws AppError, OutboundError as `AuthMethod.verify` does
 */
export async function verifyWithSession(
  deps: Pick<ConnectionDeps, 'database' | 'vault'>,
  target: { app: App; method: AuthMethod; orgId: string },
  credentials: Credentials,
  outbound: Outbound,
  { signal, connectionId, ...options }: SessionOptions,
): Promise<VerificationResult> {
  const { method } = target;
  if (!method.createSession || connectionId === undefined)
    return method.verify(credentials, outbound, signal, options);
  const owner = { connectionId, credentialsHash: await hashCredentials(deps, target, credentials) };
  const session = findKept(deps.database, owner) ?? method.createSession(credentials);
  const result = await method.verify(credentials, outbound, signal, { ...options, session });
  if (result.status === 'VERIFIED') keepSession(deps.database, owner, session);
  return result;
}

const toKey = ({ connectionId, credentialsHash }: SessionOwner) => `${connectionId} ${credentialsHash}`;

function findKept(database: Database, owner: SessionOwner): unknown {
  return ofDatabases.get(database)?.get(toKey(owner));
}

function keepSession(database: Database, owner: SessionOwner, session: unknown): unknown {
  if (typeof session !== 'object' || session === null) return session;
  const sessions = ofDatabases.get(database) ?? new LRUCache<string, object>({ max: maxSessions });
  ofDatabases.set(database, sessions);
  sessions.set(toKey(owner), session);
  return session;
}
