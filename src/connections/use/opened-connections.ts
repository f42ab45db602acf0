import { LRUCache } from 'lru-cache';
import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import type { Authorization, Authorizer, ConnectionUse } from '../../apps/use.ts';
import type { Secret } from '../../common/secret.ts';
import type { Database } from '../../database/database.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { openCredentials, retryIfReplaced } from '../credentials/seal.ts';
import { findSession } from '../credentials/sessions.ts';
import { listAwaitedFields } from '../deferrable-fields.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { SecretMask } from './secret-mask.ts';

/**
 * For how long an opened connection is used, in milliseconds; as long as an API key is. Changes that this server makes or
 * hears of end it at once.
 */
const cacheMs = 1_500;
const maxConnections = 1_000;

/** A connection with its credentials, ready to be used. */
export interface OpenedConnection {
  connection: AppConnection;
  app: App;
  method: AuthMethod;
  credentials: Credentials;
  /** How requests reach the app. */
  use: ConnectionUse;
  authorizer: Authorizer;
  /** Where requests are sent. */
  origin: URL;
  /** Removes the credentials from texts. */
  mask: SecretMask;
}

/** The authorizer of a connection that waits for a field. Nobody uses it, because the connection is `PENDING`. */
const incomplete: Authorizer = {
  authorize() {
    throw new TypeError('The credentials of the connection are incomplete.');
  },
};

class OpenedConnections {
  readonly #deps: Pick<ConnectionDeps, 'apps' | 'database' | 'vault'>;
  readonly #opened = new LRUCache<string, Promise<OpenedConnection | undefined>>({
    max: maxConnections,
    ttl: cacheMs,
    // Reading the clock for each lookup costs more than the lookup.
    ttlResolution: 100,
  });

  constructor(deps: Pick<ConnectionDeps, 'apps' | 'database' | 'vault'>) {
    this.#deps = deps;
    deps.database.changes.watch((orgId) => this.#forget(orgId));
  }

  find(orgId: string, id: string): Promise<OpenedConnection | undefined> {
    const key = `${orgId} ${id}`;
    const cached = this.#opened.get(key);
    if (cached) return cached;
    const opening = retryIfReplaced(() => this.#open(orgId, id));
    this.#opened.set(key, opening);
    opening.catch(() => this.#opened.get(key) === opening && this.#opened.delete(key));
    return opening;
  }

  async #open(orgId: string, id: string): Promise<OpenedConnection | undefined> {
    const em = this.#deps.database.forOrganisation(orgId);
    const where = { id, orgId, deletedAt: null };
    const connection = await em.findOne(AppConnection, where, {
      populate: ['sealedCredentials', 'mac'],
    });
    if (!connection) return undefined;
    const { app, method } = resolveAppAndMethod(this.#deps, connection);
    if (!method.use) return undefined;
    const credentials = await openCredentials(this.#deps, em, connection);
    const mask = new SecretMask(Object.values(credentials.secret));
    const { use } = method;
    const isComplete = listAwaitedFields(method, credentials.public).length === 0;
    const authorizer = isComplete ? this.#createAuthorizer(connection, method, use, credentials) : incomplete;
    const origin = use.getOrigin(credentials);
    return { connection, app, method, credentials, use, authorizer, origin, mask };
  }

  #createAuthorizer(
    { id: connectionId, credentialsHash }: AppConnection,
    method: AuthMethod,
    use: ConnectionUse,
    credentials: Credentials,
  ): Authorizer {
    const session = findSession(this.#deps, method, { connectionId, credentialsHash }, credentials);
    return use.createAuthorizer(credentials, session);
  }

  #forget(orgId: string | undefined): void {
    if (orgId === undefined) this.#opened.clear();
    else for (const key of this.#opened.keys()) if (key.startsWith(`${orgId} `)) this.#opened.delete(key);
  }
}

const masks = new WeakMap<Secret, SecretMask>();

/** The mask of the credentials and of the secret in an authorization. */
export function getMask({ credentials, mask }: OpenedConnection, { secret }: Authorization): SecretMask {
  if (!secret) return mask;
  const known = masks.get(secret) ?? new SecretMask([...Object.values(credentials.secret), secret]);
  masks.set(secret, known);
  return known;
}

const ofDatabases = new WeakMap<Database, OpenedConnections>();

/**
 * Finds a connection of an organisation that is not deleted, and decrypts its credentials. The result is up to 1.5 seconds
 * old. It does not depend on a caller: check what the caller may see.
 *
 * @returns undefined also if its method cannot be used
 * @throws MacMismatch, DecryptionError
 */
export function findOpenedConnection(
  deps: Pick<ConnectionDeps, 'apps' | 'database' | 'vault'>,
  orgId: string,
  id: string,
): Promise<OpenedConnection | undefined> {
  const opened = ofDatabases.get(deps.database) ?? new OpenedConnections(deps);
  ofDatabases.set(deps.database, opened);
  return opened.find(orgId, id);
}
