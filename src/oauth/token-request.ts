import { z } from 'zod';
import { currentTimeMs } from '../common/clock.ts';
import type { OutboundResponse } from '../outbound/buffered-response.ts';
import { parseJson } from '../outbound/json.ts';
import type { Outbound } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import { type AccessToken, parseAccessToken } from './access-token.ts';
import { type AssertingClient, signClientAssertion } from './client-assertion.ts';
import { type DpopKey, readNonce } from './dpop.ts';

/** A client that asks for access tokens. */
export interface TokenClient extends AssertingClient {
  scopes: readonly string[];
}

/** The token endpoint responded without an access token. */
export class TokenRequestError extends Error {
  override readonly name = 'TokenRequestError';
  /** The error of RFC 6749, section 5.2, or RFC 9449, such as `invalid_client`; undefined if the body has none. */
  readonly code: string | undefined;
  readonly response: OutboundResponse;

  constructor(response: OutboundResponse, code: string | undefined) {
    super(`the token endpoint responded with status ${response.status}${code ? ` and ${code}` : ''}`);
    this.code = code;
    this.response = response;
  }
}

/** The description of the error is not read: it can repeat parts of the request. */
const errorResponse = z.object({ error: z.string().regex(/^[\w.-]{1,64}$/) });

const maxBytes = 32 * 1024;
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** The nonces of an authorization server, kept between token requests. */
export interface NonceStore {
  nonce: string | undefined;
}

/**
 * Asks for an access token (client credentials, `private_key_jwt`). Each request carries a DPoP proof, which a server without
 * DPoP ignores; so it need not be known whether a client has to use it. If the server wants a nonce in it, or the connection
 * breaks, asks once more, with another assertion and another proof.
 *
 * @throws TokenRequestError
 * @throws OutboundError if there is no response
 */
export async function requestToken(
  outbound: Pick<Outbound, 'post'>,
  client: TokenClient,
  dpop: { key: DpopKey; nonces: NonceStore },
  signal?: AbortSignal,
): Promise<{ token: AccessToken; response: OutboundResponse }> {
  const send = async () => {
    const response = await outbound.post(client.tokenUrl, {
      headers: {
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded',
        dpop: await dpop.key.prove({ method: 'POST', url: client.tokenUrl, nonce: dpop.nonces.nonce }),
      },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        scope: client.scopes.join(' '),
        client_assertion_type: assertionType,
        client_assertion: await signClientAssertion(client),
      }).toString(),
      maxBytes,
      signal,
    });
    dpop.nonces.nonce = readNonce(response.headers) ?? dpop.nonces.nonce;
    return response;
  };
  const first = await send().catch((error: unknown) => {
    // A connection that was kept open breaks now and then.
    const isBroken = error instanceof OutboundError && error.reason === 'RESET';
    if (!isBroken || signal?.aborted) throw error;
    return send();
  });
  const response =
    readErrorCode(first) === 'use_dpop_nonce' && readNonce(first.headers) ? await send() : first;
  const body = response.status === 200 ? parseJson(response.body) : undefined;
  const token = parseAccessToken(body, client.scopes, currentTimeMs());
  if (token) return { token, response };
  throw new TokenRequestError(response, readErrorCode(response));
}

function readErrorCode({ status, body }: OutboundResponse): string | undefined {
  return status === 200 ? undefined : errorResponse.safeParse(parseJson(body)).data?.error;
}
