import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { describe, expect, test } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import {
  generatePrivateKey,
  openPrivateKey,
  parsePrivateKey,
  toPublicJwk,
} from '../src/oauth/private-key.ts';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });

const pem = (key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1' | 'spki' = 'pkcs8') =>
  key.export({ type, format: 'pem' } as never) as unknown as string;
const jwk = (key: KeyObject) => key.export({ format: 'jwk' });
const parse = (text: string) => parsePrivateKey(new Secret(text));

describe('a private key is accepted as', () => {
  test.each([
    ['PKCS#8 of RSA', pem(rsa.privateKey), rsa.publicKey],
    ['PKCS#1 of RSA', pem(rsa.privateKey, 'pkcs1'), rsa.publicKey],
    ['PKCS#8 on P-256', pem(p256.privateKey), p256.publicKey],
    ['SEC1 on P-384', pem(p384.privateKey, 'sec1'), p384.publicKey],
    ['PEM with Windows line breaks', pem(p256.privateKey).replaceAll('\n', '\r\n'), p256.publicKey],
    ['PEM with escaped line breaks', pem(rsa.privateKey).replaceAll('\n', '\\n'), rsa.publicKey],
    ['PEM with escaped Windows line breaks', pem(p256.privateKey).replaceAll('\n', '\\r\\n'), p256.publicKey],
    ['PEM on one line with spaces', pem(rsa.privateKey).replaceAll('\n', ' '), rsa.publicKey],
    ['PEM after the public key', pem(p256.publicKey, 'spki') + pem(p256.privateKey), p256.publicKey],
    ['a JWK of RSA', JSON.stringify(jwk(rsa.privateKey)), rsa.publicKey],
    ['a JWK on P-384', JSON.stringify(jwk(p384.privateKey)), p384.publicKey],
    [
      'a JWK with other members',
      JSON.stringify({ ...jwk(p256.privateKey), kid: 'a', use: 'sig' }),
      p256.publicKey,
    ],
  ])('%s', (_, text, publicKey) => {
    const { key, algorithm } = openPrivateKey(parse(text));
    const data = Buffer.from('data');
    const digest = algorithm === 'ES384' ? 'sha384' : 'sha256';
    expect(verify(digest, data, publicKey, sign(digest, data, key))).toBe(true);
  });
});

describe('a private key is refused with what it is instead:', () => {
  const encrypted = { cipher: 'aes-256-cbc', passphrase: 'secret words' };
  const okp = generateKeyPairSync('ed25519').privateKey;
  const mixed = {
    ...jwk(p256.privateKey),
    d: jwk(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey).d,
  };
  const anotherRsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
  const mixedRsa = {
    ...jwk(rsa.privateKey),
    n: jwk(generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey).n,
  };
  test.each<[string, string, RegExp]>([
    ['nothing', ' ', /is empty/],
    ['a word', 'hunter2', /not a private key/],
    ['a public key', pem(rsa.publicKey, 'spki'), /public key/],
    ['an RSA public key', pem(rsa.publicKey, 'pkcs1'), /public key/],
    ['a certificate', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----', /certificate/],
    [
      'a key encrypted as PKCS#8',
      rsa.privateKey.export({ type: 'pkcs8', format: 'pem', ...encrypted }).toString(),
      /encrypted with a passphrase/,
    ],
    [
      'a key encrypted as PKCS#1',
      rsa.privateKey.export({ type: 'pkcs1', format: 'pem', ...encrypted }).toString(),
      /encrypted with a passphrase/,
    ],
    [
      'a key of OpenSSH',
      '-----BEGIN OPENSSH PRIVATE KEY-----\nb3B\n-----END OPENSSH PRIVATE KEY-----',
      /OpenSSH/,
    ],
    ['a key that is cut off', pem(rsa.privateKey).slice(0, 800), /cut off/],
    ['a key with a missing line', pem(rsa.privateKey).replace(/\n.*\n/, '\n'), /damaged or cut off/],
    ['two private keys', pem(rsa.privateKey) + pem(p256.privateKey), /several private keys/],
    [
      'RSA with 1,024 bits',
      pem(generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey),
      /1024 bits.*weak/,
    ],
    ['a key on P-521', pem(generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey), /curve/],
    ['a key on secp256k1', pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey), /curve/],
    ['an Ed25519 key', pem(okp), /another kind/],
    ['RSA-PSS', pem(generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).privateKey), /another kind/],
    ['a JWK of an Ed25519 key', JSON.stringify(jwk(okp)), /another type/],
    ['a JWK of a symmetric key', JSON.stringify({ kty: 'oct', k: 'c2VjcmV0' }), /another type/],
    ['a public JWK', JSON.stringify(jwk(p256.publicKey)), /public key/],
    ['a JWK set', JSON.stringify({ keys: [jwk(p256.privateKey)] }), /set of keys/],
    ['JSON that is cut off', JSON.stringify(jwk(rsa.privateKey)).slice(0, 700), /not valid JSON/],
    ['a JWK of two elliptic curve keys', JSON.stringify(mixed), /not a private key|belong together/],
    ['a JWK of two RSA keys', JSON.stringify(mixedRsa), /not a private key|belong together/],
    ...['p', 'dp', 'dq', 'qi'].map((name): [string, string, RegExp] => [
      `a JWK of RSA with another ${name}`,
      JSON.stringify({ ...jwk(rsa.privateKey), [name]: jwk(anotherRsa)[name] }),
      /not a private key|belong together/,
    ]),
    ['a JWK without primes', JSON.stringify({ ...jwk(rsa.privateKey), p: undefined }), /lacks the members/],
    ['a long text', 'x'.repeat(16_385), /more than 16,384 characters/],
  ])('%s', (_, text, message) => {
    expect(() => parse(text)).toThrow(message);
    expect(() => parse(text)).toThrow(expect.objectContaining({ name: 'InvalidPrivateKey' }));
  });
});

test('the public JWK has no private member and is named after its thumbprint', async () => {
  const generated = await generatePrivateKey();
  for (const key of [generated, parse(pem(rsa.privateKey))]) {
    const published = await toPublicJwk(key);
    const members = [
      'alg',
      'kid',
      'kty',
      'use',
      ...(published.kty === 'RSA' ? ['e', 'n'] : ['crv', 'x', 'y']),
    ];
    expect(Object.keys(published).sort()).toEqual(members.sort());
    expect(published.kid).toBe(await calculateJwkThumbprint(published as never));
    expect(createPublicKey({ format: 'jwk', key: published as never }).type).toBe('public');
    expect((await toPublicJwk(key, 'my-key')).kid).toBe('my-key');
  }
});
