import { createHash, generateKeyPair, type KeyObject, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { type JWK, SignJWT } from 'jose';
import { currentTimeMs } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';

/** A request for which a proof is made. */
export interface ProvenRequest {
  method: string;
  url: URL;
  /** The access token that is sent with the request; absent in a token request. */
  accessToken?: Secret;
  /** The newest nonce of the server, if it has given one. */
  nonce?: string | undefined;
}

/** Visible ASCII. A longer nonce could exceed the size of headers that servers accept. */
const validNonce = /^[\x21-\x7e]{1,1024}$/;

/** Proves the possession of a key that exists only in this process (DPoP, RFC 9449). */
export class DpopKey {
  readonly #privateKey: KeyObject;
  readonly #publicJwk: JWK;

  private constructor(privateKey: KeyObject, publicJwk: JWK) {
    this.#privateKey = privateKey;
    this.#publicJwk = publicJwk;
  }

  static async generate(): Promise<DpopKey> {
    const { privateKey, publicKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
    return new DpopKey(privateKey, publicKey.export({ format: 'jwk' }) as JWK);
  }

  /** Signs the proof of one attempt. A server refuses a proof that it has seen. */
  prove({ method, url, accessToken, nonce }: ProvenRequest): Promise<string> {
    const claims = {
      htm: method,
      // RFC 9449, section 4.2: without query and fragment.
      htu: `${url.origin}${url.pathname}`,
      ...(accessToken && { ath: createHash('sha256').update(accessToken.reveal()).digest('base64url') }),
      ...(nonce !== undefined && { nonce }),
    };
    return new SignJWT(claims)
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: this.#publicJwk })
      .setIssuedAt(Math.floor(currentTimeMs() / 1_000))
      .setJti(randomUUID())
      .sign(this.#privateKey);
  }
}

/**
 * Reads the nonce in the headers of any response; undefined if there is none that can be sent back. Proxies can repeat a header, and
 * its values are a list or joined by a comma and a space, which no nonce contains.
 */
export function readNonce(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): string | undefined {
  const values = headers['dpop-nonce'];
  if (values === undefined) return undefined;
  const nonces = [values].flat().flatMap((value) => value.split(', '));
  return nonces.findLast((nonce) => validNonce.test(nonce));
}
