import type { Outbound } from '../outbound/outbound.ts';
import { DpopKey } from './dpop.ts';
import { OAuthClient } from './oauth-client.ts';
import {
  generatePrivateKey,
  InvalidPrivateKey,
  openPrivateKey,
  parsePrivateKey,
  toPublicJwk,
} from './private-key.ts';
import { requestToken, type TokenClient, TokenRequestError } from './token-request.ts';

/**
 * What apps need of OAuth 2.0. They get it as a setting and import only its types: it needs modules of Node, and browsers load
 * apps to validate forms.
 */
export const oauth = {
  generatePrivateKey,
  parsePrivateKey,
  openPrivateKey,
  toPublicJwk,
  InvalidPrivateKey,
  TokenRequestError,
  /** Creates a client that keeps its access token in memory. One is enough for a connection. */
  createClient: (client: TokenClient) => new OAuthClient(client),
  /**
   * Asks for an access token that is not kept.
   *
   * @throws TokenRequestError, OutboundError
   */
  requestNewToken: async (outbound: Pick<Outbound, 'post'>, client: TokenClient, signal?: AbortSignal) =>
    requestToken(outbound, client, { key: await DpopKey.generate(), nonces: { nonce: undefined } }, signal),
};

/** The type of `oauth`. */
export type OAuth = typeof oauth;
export type { OAuthClient, TokenClient, TokenRequestError };
