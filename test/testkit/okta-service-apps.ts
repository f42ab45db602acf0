import { createLocalJWKSet, type JWK } from 'jose';

/** A service app of the stand-in, as an administrator configures it. Its id is its client id. */
export interface ServiceApp {
  clientId: string;
  /** The scopes that are granted to it. */
  scopes: readonly string[];
  /** The public keys that are kept in Okta. */
  keys?: readonly JWK[];
  /** The address at which Okta fetches the public keys instead. */
  jwksUrl?: string;
  /** For how long Okta uses keys that it has fetched, in seconds. Default: not at all. */
  jwksCacheSeconds?: number;
  /** Whether it has to prove the possession of its tokens' keys. Default: yes, as in Okta. */
  requiresDpop?: boolean;
  /** Whether it has an admin role. Default: yes. */
  hasRole?: boolean;
  /** Whether it is active. Default: yes. */
  isActive?: boolean;
}

/** A key that is kept in Okta. */
export interface StoredKey {
  id: string;
  jwk: JWK;
  isActive: boolean;
}

/** The service apps of the stand-in, with their keys. */
export class ServiceApps {
  readonly #apps = new Map<string, ServiceApp>();
  readonly #stored = new Map<string, StoredKey[]>();
  readonly #fetched = new Map<string, { keys: JWK[]; fetchedAt: number }>();
  readonly #getTime: () => number;
  #keyCount = 0;

  constructor(getTime: () => number) {
    this.#getTime = getTime;
  }

  /** Creates or replaces an app. */
  set(app: ServiceApp): void {
    this.#apps.set(app.clientId, app);
    this.#stored.set(app.clientId, []);
    for (const jwk of app.keys ?? []) this.addKey(app.clientId, jwk);
    this.#fetched.delete(app.clientId);
  }

  delete(clientId: string): void {
    this.#apps.delete(clientId);
    this.#stored.delete(clientId);
  }

  find(clientId: string): ServiceApp | undefined {
    return this.#apps.get(clientId);
  }

  /** The keys that are kept in Okta. */
  storedKeys(clientId: string): StoredKey[] {
    return this.#stored.get(clientId) ?? [];
  }

  addKey(clientId: string, jwk: JWK): StoredKey {
    this.#keyCount += 1;
    const key = { id: `pks${String(this.#keyCount).padStart(17, '0')}`, jwk, isActive: true };
    this.storedKeys(clientId).push(key);
    return key;
  }

  removeKey(clientId: string, id: string): void {
    this.#stored.set(
      clientId,
      this.storedKeys(clientId).filter((key) => key.id !== id),
    );
  }

  /** The keys with which the app can sign. */
  async activeKeys(app: ServiceApp): Promise<JWK[]> {
    if (app.jwksUrl === undefined) {
      return this.storedKeys(app.clientId)
        .filter(({ isActive }) => isActive)
        .map(({ jwk }) => jwk);
    }
    const known = this.#fetched.get(app.clientId);
    const now = this.#getTime();
    if (known && now < known.fetchedAt + (app.jwksCacheSeconds ?? 0) * 1_000) return known.keys;
    const response = await fetch(app.jwksUrl).catch(() => undefined);
    const keys: JWK[] = response?.ok ? Object(await response.json()).keys : [];
    // As `createLocalJWKSet` throws for another document.
    createLocalJWKSet({ keys });
    this.#fetched.set(app.clientId, { keys, fetchedAt: now });
    return keys;
  }
}
