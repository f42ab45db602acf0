import { LRUCache } from 'lru-cache';
import { Secret } from '../common/secret.ts';
import type { Database } from '../database/database.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import type { Vault } from '../encryption/vault.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { Caller } from '../identity/caller.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { assertActive, assertChecksum, digestApiKey, findApiKey } from './api-keys.ts';
import { AuthenticationError, unauthenticated } from './authentication-error.ts';
import { isJwt, type TokenVerifier } from './oidc.ts';

/** How long a credential is believed without looking again; a revoked one has to be out within five seconds. */
const believedMs = 1_500;
/** Bytes that all of them hold together. A token may name as many projects as its 8,192 characters have room for. */
const maxBelievedBytes = 8 * 1_024 * 1_024;
const minuteMs = 60_000;

/** Returns the caller of an `Authorization` header, which is null if the request has none. */
export type Authenticate = (authorization: string | null) => Promise<Caller>;

/** Finds out who asks, by an API key or, where there is an identity provider, by its token. */
export class Authenticator {
  readonly #database: Database;
  readonly #vault: Vault;
  readonly #tokens: TokenVerifier | undefined;
  /** Callers by the hash of their credential. */
  readonly #believed = new LRUCache<string, { caller: Caller; until: number }>({
    maxSize: maxBelievedBytes,
    sizeCalculation: ({ caller }) => 1_024 + 100 * (caller.projectIds?.size ?? 0),
  });

  constructor(database: Database, vault: Vault, tokens?: TokenVerifier) {
    this.#database = database;
    this.#vault = vault;
    this.#tokens = tokens;
  }

  /**
   * @param authorization the `Authorization` header, or null when there is none
   * @throws AppError `UNAUTHENTICATED` when there is no credential, or a `AuthenticationError` when it is not good;
   *   `UPSTREAM_UNREACHABLE` when the identity provider's keys cannot be had
   */
  async authenticate(authorization: string | null): Promise<Caller> {
    if (!authorization) throw unauthenticated();
    const [, text] = /^Bearer +([\x21-\x7e]{1,8192})$/i.exec(authorization) ?? [];
    if (!text) {
      throw new AuthenticationError(
        'The Authorization header is not "Bearer" with an API key or a token of at most 8,192 characters.',
      );
    }
    const credential = new Secret(text);
    const hash = digestApiKey(credential);
    const known = this.#believed.get(hash);
    if (known && known.until > Date.now()) return known.caller;

    const tokens = isJwt(text) ? this.#tokens : undefined;
    const caller = await (tokens
      ? this.#authenticateByToken(tokens, text)
      : this.#authenticateByKey(credential, known !== undefined));
    this.#cacheCaller(hash, caller);
    return caller;
  }

  /** Believes nobody any more without looking. */
  invalidateCache(): void {
    this.#believed.clear();
  }

  /** @param wasGood whether the key has let somebody in before, as far as this is remembered */
  async #authenticateByKey(key: Secret, wasGood: boolean): Promise<Caller> {
    assertChecksum(key);
    // Those who try keys that nobody has, from however many addresses, are not to hold up those who have one.
    const em = wasGood ? this.#database.asSystem() : this.#database.asSystemForUnauthenticated();
    const found = await findApiKey(em, this.#vault, key);
    if (!found) throw new AuthenticationError('No such API key.');
    const { id: keyId, orgId, scopes, expiresAt } = found;
    assertActive(found);

    const aMinuteAgo = new Date(Date.now() - minuteMs);
    if (!found.lastUsedAt || found.lastUsedAt <= aMinuteAgo) {
      const notSince = { $or: [{ lastUsedAt: null }, { lastUsedAt: { $lte: aMinuteAgo } }] };
      await em
        .nativeUpdate(ApiKey, { id: keyId, ...notSince }, { lastUsedAt: new Date() })
        // With a disk that is full, what is there can still be read.
        .catch((error: unknown) => {
          if (!isDatabaseUnavailable(error)) throw error;
        });
    }
    const projectIds = found.projectIds ?? null;
    return new Caller({ orgId, keyId, subject: null, scopes, projectIds, expiresAt: expiresAt ?? null });
  }

  async #authenticateByToken(tokens: TokenVerifier, token: string): Promise<Caller> {
    const isHere = async (orgId: string) =>
      orgId !== unattributedOrgId &&
      (await this.#database.forOrganisation(orgId).count(Organisation, { id: orgId })) > 0;
    const identity = await tokens.verify(token).catch(async (error: unknown) => {
      if (
        !(error instanceof AuthenticationError) ||
        !error.claimedIdentity ||
        (await isHere(error.claimedIdentity.orgId))
      )
        throw error;
      // The trail of an organisation that is not here cannot be told of it.
      throw new AuthenticationError(error.message, { remedy: error.remedy });
    });
    if (await isHere(identity.orgId)) return new Caller(identity);
    throw new AuthenticationError('The token is for an organisation that is not here.', {
      remedy: 'Ask whoever looks after the identity provider to name the right one.',
    });
  }

  #cacheCaller(hash: string, caller: Caller): void {
    const until = Math.min(Date.now() + believedMs, caller.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY);
    this.#believed.set(hash, { caller, until });
  }
}
