import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { promisify } from 'node:util';
import { calculateJwkThumbprint } from 'jose';
import { Secret } from '../common/secret.ts';
import { findPem } from './pem.ts';

/** The text is not a private key that can sign client assertions. The message is for the person who gave it. */
export class InvalidPrivateKey extends Error {
  override readonly name = 'InvalidPrivateKey';
}

/** The signature algorithms of client assertions, by the key's type (RFC 7518, section 3.1). */
export type SigningAlgorithm = 'RS256' | 'ES256' | 'ES384';

/** A private key, ready to sign. */
export interface SigningKey {
  key: KeyObject;
  algorithm: SigningAlgorithm;
}

/** A public key as it is published in a JWK set (RFC 7517). It has public members only. */
export interface PublicJwk {
  kty: 'RSA' | 'EC';
  kid: string;
  use: 'sig';
  alg: SigningAlgorithm;
  n?: string;
  e?: string;
  crv?: string;
  x?: string;
  y?: string;
}

/** An RSA key of 4,096 bits as PEM or JWK has fewer than 4,000 characters. */
const maxLength = 16_384;
const minRsaBits = 2_048;
/** A signature with a larger key occupies the event loop for tens of milliseconds. */
const maxRsaBits = 4_096;
const maxRsaExponent = 2n ** 32n;

const formats =
  'Give a PEM text that begins with “-----BEGIN PRIVATE KEY-----”, or a private JWK, which is a JSON object.';
const kinds = 'Use an RSA key of 2,048 to 4,096 bits, or an elliptic curve key on P-256 or P-384.';

/**
 * Parses a private key: PEM (PKCS#1, PKCS#8 or SEC1, with line breaks, spaces or `\n` between its lines) or a private JWK.
 *
 * @returns the private JWK as JSON, which `openPrivateKey` reads
 * @throws InvalidPrivateKey
 */
export function parsePrivateKey(given: Secret): Secret {
  const text = given.reveal().trim();
  if (!text) throw new InvalidPrivateKey(`The private key is empty. ${formats}`);
  if (text.length > maxLength) {
    throw new InvalidPrivateKey('The private key has more than 16,384 characters. Give one key only.');
  }
  const key = text.startsWith('{') ? importJwk(text) : importPem(text);
  const algorithm = findAlgorithm(key);
  const { kty, n, e, d, p, q, dp, dq, qi, crv, x, y } = key.export({ format: 'jwk' });
  if (kty === 'RSA') assertRsaNumbers({ n, d, p, q, dp, dq, qi });
  assertConsistent(key);
  return new Secret(JSON.stringify({ kty, alg: algorithm, n, e, d, p, q, dp, dq, qi, crv, x, y }));
}

/** Reads the result of `parsePrivateKey` or `generatePrivateKey`. */
export function openPrivateKey(jwk: Secret): SigningKey {
  const key = createPrivateKey({ format: 'jwk', key: JSON.parse(jwk.reveal()) as JsonWebKey });
  return { key, algorithm: findAlgorithm(key) };
}

/** Generates a key on P-256 and returns the private JWK as JSON. */
export async function generatePrivateKey(): Promise<Secret> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  return new Secret(JSON.stringify({ ...privateKey.export({ format: 'jwk' }), alg: 'ES256' }));
}

/**
 * Returns the public part of a key.
 *
 * @param jwk a result of `parsePrivateKey` or `generatePrivateKey`
 * @param keyId absent: the thumbprint of the key (RFC 7638)
 */
export async function toPublicJwk(jwk: Secret, keyId?: string): Promise<PublicJwk> {
  const { key, algorithm } = openPrivateKey(jwk);
  const { kty, n, e, crv, x, y } = createPublicKey(key).export({ format: 'jwk' });
  const members = kty === 'RSA' ? { kty, n, e } : { kty, crv, x, y };
  const kid =
    keyId ?? (await calculateJwkThumbprint(members as Parameters<typeof calculateJwkThumbprint>[0]));
  return { ...members, kid, use: 'sig', alg: algorithm } as PublicJwk;
}

function importPem(text: string): KeyObject {
  const pem = findPem(text);
  if (typeof pem === 'string') throw new InvalidPrivateKey(`${pem} ${formats}`);
  try {
    return createPrivateKey({ ...pem, format: 'der' });
  } catch {
    throw new InvalidPrivateKey('The private key is damaged or cut off. Copy the whole key again.');
  }
}

function importJwk(text: string): KeyObject {
  const jwk = parseJwk(text);
  if ('keys' in jwk) {
    throw new InvalidPrivateKey(
      'This is a set of keys (JWKS). Give the private key itself, one object of it.',
    );
  }
  if (jwk.kty !== 'RSA' && jwk.kty !== 'EC')
    throw new InvalidPrivateKey(`This JWK is of another type. ${kinds}`);
  if (jwk.d === undefined) {
    throw new InvalidPrivateKey('This JWK is a public key. Give the private one, which has the member “d”.');
  }
  if (jwk.kty === 'EC' && jwk.crv !== 'P-256' && jwk.crv !== 'P-384') {
    throw new InvalidPrivateKey(`This JWK is on another curve. ${kinds}`);
  }
  if (jwk.kty === 'RSA' && jwk.p === undefined) {
    throw new InvalidPrivateKey(
      'This JWK lacks the members p, q, dp, dq and qi. Export the key with them, or as PEM.',
    );
  }
  try {
    return createPrivateKey({ format: 'jwk', key: jwk });
  } catch {
    throw new InvalidPrivateKey(
      'The members of this JWK are not a private key. Copy the whole object again.',
    );
  }
}

function parseJwk(text: string): JsonWebKey {
  try {
    return JSON.parse(text) as JsonWebKey;
  } catch {
    throw new InvalidPrivateKey(
      'The private key begins like a JWK, but it is not valid JSON. Copy the whole object.',
    );
  }
}

/** @throws InvalidPrivateKey if a key of this kind cannot sign client assertions */
function findAlgorithm(key: KeyObject): SigningAlgorithm {
  const { modulusLength = 0, publicExponent = 0n, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec') {
    if (namedCurve === 'prime256v1') return 'ES256';
    if (namedCurve === 'secp384r1') return 'ES384';
    throw new InvalidPrivateKey(`The private key is on another elliptic curve. ${kinds}`);
  }
  if (key.asymmetricKeyType !== 'rsa')
    throw new InvalidPrivateKey(`The private key is of another kind. ${kinds}`);
  if (modulusLength < minRsaBits) {
    throw new InvalidPrivateKey(`The RSA key has ${modulusLength} bits, which is too weak. ${kinds}`);
  }
  if (modulusLength > maxRsaBits) {
    throw new InvalidPrivateKey(`The RSA key has ${modulusLength} bits, which is too large. ${kinds}`);
  }
  if (publicExponent < 3n || publicExponent > maxRsaExponent) {
    throw new InvalidPrivateKey(`The RSA key has an unusual public exponent. ${kinds}`);
  }
  return 'RS256';
}

const inconsistent = 'The private and the public part of the key do not belong together. Copy the key again.';

/**
 * Rejects an RSA key whose numbers do not belong together (RFC 8017, section 3.2). OpenSSL signs with such a key too, if `d` is
 * right, but takes up to ten times as long, and the event loop waits.
 */
function assertRsaNumbers(key: JsonWebKey): void {
  const { n, d, p, q, dp, dq, qi } = key;
  const [modulus, exponent, first, second] = [toBigInt(n), toBigInt(d), toBigInt(p), toBigInt(q)];
  const isConsistent =
    first > 1n &&
    second > 1n &&
    first * second === modulus &&
    exponent % (first - 1n) === toBigInt(dp) &&
    exponent % (second - 1n) === toBigInt(dq) &&
    (toBigInt(qi) * second) % first === 1n;
  if (!isConsistent) throw new InvalidPrivateKey(inconsistent);
  if (Math.abs(countBits(first) - countBits(second)) > maxPrimeDifference)
    throw new InvalidPrivateKey(`The primes of the RSA key have very different lengths. ${kinds}`);
}

/** In bits. Common programs make primes of the same length. */
const maxPrimeDifference = 64;

const toBigInt = (text = '') => BigInt(`0x0${Buffer.from(text, 'base64url').toString('hex')}`);
const countBits = (value: bigint) => value.toString(2).length;

/** Rejects a key whose private and public parts do not belong together. OpenSSL imports such keys. */
function assertConsistent(key: KeyObject): void {
  const message = Buffer.from('consistent');
  try {
    const isConsistent = verify('sha256', message, createPublicKey(key), sign('sha256', message, key));
    if (isConsistent) return;
  } catch {
    // OpenSSL reports some inconsistent keys when they sign.
  }
  throw new InvalidPrivateKey(inconsistent);
}
