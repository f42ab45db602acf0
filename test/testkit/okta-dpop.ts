import { createHash } from 'node:crypto';
import {
  calculateJwkThumbprint,
  EmbeddedJWK,
  type JWTPayload,
  jwtVerify,
  type ProtectedHeaderParameters,
} from 'jose';

/** The signature algorithms of DPoP proofs and client assertions that Okta accepts. */
export const algorithms = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'];

/** The difference of clocks that Okta accepts, in seconds. */
const maxAge = 300;

/** What a proof has to prove. */
export interface ProofSubject {
  method: string;
  url: URL;
  /** The access token that was sent with the proof. */
  accessToken?: string;
  /** In milliseconds since the epoch. */
  now: number;
}

/** A proof that was verified. */
export interface VerifiedProof {
  /** The thumbprint of its key. */
  thumbprint: string;
  nonce: unknown;
}

/** Verifies DPoP proofs (RFC 9449, section 4.3). It accepts each once. */
export class ProofVerifier {
  readonly #used = new Set<string>();

  /** Returns a sentence of Okta's about the first fault. */
  async verify(proof: string | undefined, subject: ProofSubject): Promise<VerifiedProof | string> {
    if (proof === undefined) return 'The DPoP proof JWT header is missing.';
    const verified = await verifySignature(proof, new Date(subject.now));
    if (!verified) return 'The DPoP proof JWT is invalid.';
    const { header, payload } = verified;
    if (header.jwk === undefined || 'd' in header.jwk)
      return "The 'jwk' header in the DPoP proof JWT is invalid.";
    const invalid = findInvalidClaim(payload, subject);
    if (invalid) return `'${invalid}' claim in the DPoP proof JWT is invalid.`;
    const use = `${payload.jti}`;
    if (this.#used.has(use)) return 'The DPoP proof JWT has already been used.';
    this.#used.add(use);
    return { thumbprint: await calculateJwkThumbprint(header.jwk), nonce: payload.nonce };
  }
}

async function verifySignature(
  proof: string,
  currentDate: Date,
): Promise<{ header: ProtectedHeaderParameters; payload: JWTPayload } | undefined> {
  try {
    const { protectedHeader: header, payload } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms,
      currentDate,
    });
    return { header, payload };
  } catch {
    return undefined;
  }
}

function findInvalidClaim(payload: JWTPayload, { method, url, accessToken, now }: ProofSubject) {
  const { jti, htm, htu, iat = 0, ath } = payload;
  if (typeof jti !== 'string' || jti.length < 8) return 'jti';
  if (htm !== method) return 'htm';
  if (htu !== `${url.origin}${url.pathname}`) return 'htu';
  if (Math.abs(now / 1_000 - iat) > maxAge) return 'iat';
  const hash = accessToken && createHash('sha256').update(accessToken).digest('base64url');
  return ath === hash ? undefined : 'ath';
}
