import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { currentTimeMs } from '../common/clock.ts';
import type { SigningKey } from './private-key.ts';

/** A client that authenticates with `private_key_jwt` (RFC 7523, section 2.2). */
export interface AssertingClient {
  tokenUrl: URL;
  clientId: string;
  key: SigningKey;
  keyId: string;
}

/** In seconds. Okta accepts up to an hour. */
const lifetime = 300;

/** Signs a client assertion for one token request. */
export function signClientAssertion({ tokenUrl, clientId, key, keyId }: AssertingClient): Promise<string> {
  const now = Math.floor(currentTimeMs() / 1_000);
  return new SignJWT()
    .setProtectedHeader({ alg: key.algorithm, kid: keyId })
    .setIssuer(clientId)
    .setSubject(clientId)
    .setAudience(tokenUrl.href)
    .setIssuedAt(now)
    .setExpirationTime(now + lifetime)
    .setJti(randomUUID())
    .sign(key.key);
}
