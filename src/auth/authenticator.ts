import { LRUCache } from 'lru-cache';
import { findHead } from '../audit/trail-head.ts';
import { currentTime, currentTimeMs } from '../common/clock.ts';
import { Secret } from '../common/secret.ts';
import type { Database } from '../database/database.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import type { Vault } from '../encryption/vault.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { Caller } from '../identity/caller.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { assertActive, assertChecksum, digestCredential, findApiKey } from './api-keys.ts';
import { AuthenticationError, assertOrganisationEnabled, unauthenticated } from './authentication-error.ts';
import { isJwt, type TokenVerifier } from './oidc.ts';

/** How long the cache is trusted. A revoked credential, or one of a disabled organisation, must stop working within five seconds. */
const cacheTtlMs = 1_500;
/** The size of the cache. A bound on entries is not enough: a token of 8,192 characters can name many projects. */
const maxCacheBytes = 8 * 1_024 * 1_024;
const minuteMs = 60_000;

/** Returns the caller of an `Authorization` header, which is null if the request has none. */
export type Authenticate = (authorization: string | null) => Promise<Caller>;

/** Authenticates API keys and, if an identity provider is configured, its access tokens. Caches the callers. */
export class Authenticator {
  readonly #database: Database;
  readonly #vault: Vault;
  readonly #tokenVerifier: TokenVerifier | undefined;
  /**
   * Callers by the digest of their credential. An entry stays after `until`: it still shows that the credential was
   * accepted before.
   */
  readonly #cache = new LRUCache<string, { caller: Caller; until: number }>({
    maxSize: maxCacheBytes,
    sizeCalculation: ({ caller }) =>
      1_024 + 100 * ((caller.projectIds?.size ?? 0) + (caller.connectionIds?.size ?? 0)),
  });

  constructor(database: Database, vault: Vault, tokenVerifier?: TokenVerifier) {
    this.#database = database;
    this.#vault = vault;
    this.#tokenVerifier = tokenVerifier;
  }

  /**
   * @param authorization the `Authorization` header, or null if the request has none
   * @throws AuthenticationError if the credential is rejected; with `ORGANISATION_DISABLED` if its organisation is disabled
   * @throws MacMismatch if the status of the organisation was changed outside this server
   * @throws AppError `UNAUTHENTICATED` if there is no credential; `UPSTREAM_UNREACHABLE` if the keys of the identity
   *   provider cannot be fetched
   */
  async authenticate(authorization: string | null): Promise<Caller> {
    if (!authorization) throw unauthenticated();
    const [, text] = /^Bearer +([\x21-\x7e]{1,8192})$/i.exec(authorization) ?? [];
    if (!text) {
      throw new AuthenticationError(
        'The Authorization header is malformed. Expected: Bearer, and an API key or an access token of at most 8,192 characters.',
      );
    }
    const credential = new Secret(text);
    const digest = digestCredential(credential);
    const cached = this.#cache.get(digest);
    if (cached && cached.until > currentTimeMs()) return cached.caller;

    const tokenVerifier = isJwt(text) ? this.#tokenVerifier : undefined;
    const caller = await (tokenVerifier
      ? this.#authenticateToken(tokenVerifier, text)
      : this.#authenticateApiKey(credential, cached !== undefined));
    this.#cacheCaller(digest, caller);
    return caller;
  }

  /** Clears the cache, so that every credential is checked again. */
  invalidateCache(): void {
    this.#cache.clear();
  }

  /** @param wasAccepted whether the cache has an entry for the key, although it has expired */
  async #authenticateApiKey(key: Secret, wasAccepted: boolean): Promise<Caller> {
    assertChecksum(key);
    // Unknown keys share one slot in the queue for connections, so that guessing keys does not delay valid ones.
    const em = wasAccepted ? this.#database.asSystem() : this.#database.asSystemForUnauthenticated();
    const apiKey = await findApiKey(em, this.#vault, key);
    if (!apiKey) throw new AuthenticationError('No such API key.');
    const { id: keyId, orgId, scopes, projectIds = null, connectionIds = null, expiresAt = null } = apiKey;
    assertActive(apiKey);
    const head = await findHead(em, this.#vault, orgId);
    if (!head) throw new AuthenticationError('No such API key.');
    assertOrganisationEnabled(head, { orgId, keyId });

    const oneMinuteAgo = new Date(currentTimeMs() - minuteMs);
    if (!apiKey.lastUsedAt || apiKey.lastUsedAt <= oneMinuteAgo) {
      const isUnusedSince = { $or: [{ lastUsedAt: null }, { lastUsedAt: { $lte: oneMinuteAgo } }] };
      await em
        .nativeUpdate(ApiKey, { id: keyId, ...isUnusedSince }, { lastUsedAt: currentTime() })
        // If the disk is full, requests can still read: the time of use is not worth failing them.
        .catch((error: unknown) => {
          if (!isDatabaseUnavailable(error)) throw error;
        });
    }
    return new Caller({ orgId, keyId, subject: null, scopes, projectIds, connectionIds, expiresAt });
  }

  async #authenticateToken(tokenVerifier: TokenVerifier, token: string): Promise<Caller> {
    const organisationExists = async (orgId: string) =>
      orgId !== unattributedOrgId &&
      (await this.#database.forOrganisation(orgId).count(Organisation, { id: orgId })) > 0;
    const identity = await tokenVerifier.verify(token).catch(async (error: unknown) => {
      if (
        !(error instanceof AuthenticationError) ||
        !error.claimedIdentity ||
        (await organisationExists(error.claimedIdentity.orgId))
      )
        throw error;
      // An unknown organisation has no audit trail, so the event is unattributed.
      throw new AuthenticationError(error.message, { remedy: error.remedy });
    });
    const { orgId, subject } = identity;
    const em = this.#database.forOrganisation(orgId);
    const head = orgId === unattributedOrgId ? null : await findHead(em, this.#vault, orgId);
    if (!head) {
      throw new AuthenticationError('The organisation of the token does not exist.', {
        remedy: 'Correct the organisation claim in the configuration of the identity provider.',
      });
    }
    assertOrganisationEnabled(head, { orgId, subject: subject ?? '' });
    return new Caller(identity);
  }

  #cacheCaller(digest: string, caller: Caller): void {
    const until = Math.min(
      currentTimeMs() + cacheTtlMs,
      caller.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY,
    );
    this.#cache.set(digest, { caller, until });
  }
}
