import { currentTimeMs } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { AccessToken } from './access-token.ts';
import { DpopKey, readNonce } from './dpop.ts';
import { type NonceStore, requestToken, type TokenClient } from './token-request.ts';

/** How long before its end a token is replaced, in milliseconds; at most half of its lifetime. */
const renewalMs = 60_000;

/**
 * How old a refused token has to be to be replaced, in milliseconds, unless it was accepted before: the next one would be refused
 * too. A host that accepts a token for one path and refuses it for another gets no more than one in this time either.
 */
const freshMs = 30_000;

/** For how long a failed token request answers further callers, in milliseconds. */
const failureMs = 2_000;

/** A request to a resource server. */
export interface AuthorizedRequest {
  method: string;
  url: URL;
}

/** The headers of an attempt, and the token in them. */
export interface Authorization {
  headers: Readonly<Record<string, string>>;
  token: Secret;
}

/** The status and the headers of a response to an authorized request. */
export interface AuthorizedResponse {
  status: number;
  headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/**
 * An OAuth client with its access token, which it keeps in memory until shortly before its end. However many callers need a
 * token at the same time, there is one token request.
 */
export class OAuthClient {
  readonly #client: TokenClient;
  readonly #dpopKey = DpopKey.generate();
  readonly #nonces: NonceStore = { nonce: undefined };
  /** The newest nonce of the resource server, which has nonces of its own. */
  #resourceNonce: string | undefined;
  #token: AccessToken | undefined;
  /** Whether the resource server has accepted the token. */
  #isAccepted = false;
  /** When a refused token was last replaced, in milliseconds since the epoch. */
  #replacedAt = 0;
  #minting: Promise<AccessToken> | undefined;
  /** The last token request, for a moment after it has failed. */
  #failed: Promise<AccessToken> | undefined;

  constructor(client: TokenClient) {
    this.#client = client;
    // An unhandled rejection would end the process; `authorize` reports it.
    this.#dpopKey.catch(() => undefined);
  }

  /**
   * Authorizes one attempt. Call it for each: a proof works once.
   *
   * @throws TokenRequestError, OutboundError
   */
  async authorize(request: AuthorizedRequest, outbound: Pick<Outbound, 'post'>): Promise<Authorization> {
    const { token, type } = await this.getToken(outbound);
    if (type === 'Bearer') return { headers: { authorization: `Bearer ${token.reveal()}` }, token };
    const key = await this.#dpopKey;
    const { method, url } = request;
    const proof = await key.prove({ method, url, accessToken: token, nonce: this.#resourceNonce });
    return { headers: { authorization: `DPoP ${token.reveal()}`, dpop: proof }, token };
  }

  /**
   * Returns the token, or asks for one. The request for it does not depend on a caller, because others wait for it too.
   *
   * @throws TokenRequestError, OutboundError
   */
  getToken(outbound: Pick<Outbound, 'post'>): Promise<AccessToken> | AccessToken {
    const now = currentTimeMs();
    const token = this.#token;
    if (token && now < renewalTime(token)) return token;
    const next = this.#failed ?? this.renewToken(outbound);
    // Nobody waits for the next token, or fails because of it, while this one works.
    return !token || now >= token.expiresAt ? next : token;
  }

  /**
   * Asks for a token, which replaces the one that there is. It proves that the server accepts the client now. The request for it
   * depends on a caller as little as that of `getToken`, and is the same if both need one at the same time.
   *
   * @throws TokenRequestError, OutboundError
   */
  renewToken(outbound: Pick<Outbound, 'post'>): Promise<AccessToken> {
    if (this.#minting) return this.#minting;
    const minting = this.#mint(outbound).finally(() => {
      this.#minting = undefined;
    });
    this.#minting = minting;
    minting.catch(() => {
      this.#failed = minting;
      setTimeout(() => {
        if (this.#failed === minting) this.#failed = undefined;
      }, failureMs).unref();
    });
    return minting;
  }

  /**
   * Learns from a response.
   *
   * @param used the token that was sent
   * @returns whether the same request can succeed with a new authorization
   */
  observe(used: Secret, { status, headers }: AuthorizedResponse): boolean {
    const nonce = readNonce(headers);
    if (nonce !== undefined) this.#resourceNonce = nonce;
    // Also if another response has brought the same nonce meanwhile. Okta responds with 400, RFC 9449 has 401.
    if ((status === 400 || status === 401) && asksForNonce(headers)) return nonce !== undefined;
    const current = this.#token;
    const isCurrent = current?.token === used;
    if (status !== 401) {
      this.#isAccepted ||= isCurrent;
      return false;
    }
    if (!isCurrent) return true;
    const now = currentTimeMs();
    const freshSince = this.#isAccepted ? this.#replacedAt : current.mintedAt;
    if (now < freshSince + freshMs) return false;
    this.#token = undefined;
    this.#replacedAt = now;
    return true;
  }

  async #mint(outbound: Pick<Outbound, 'post'>): Promise<AccessToken> {
    const dpop = { key: await this.#dpopKey, nonces: this.#nonces };
    const { token } = await requestToken(outbound, this.#client, dpop);
    this.#token = token;
    this.#isAccepted = false;
    this.#failed = undefined;
    return token;
  }
}

function asksForNonce(headers: AuthorizedResponse['headers']): boolean {
  return [headers['www-authenticate']].flat().some((challenge = '') => /\buse_dpop_nonce\b/.test(challenge));
}

function renewalTime({ mintedAt, expiresAt }: AccessToken): number {
  return expiresAt - Math.min(renewalMs, (expiresAt - mintedAt) / 2);
}
