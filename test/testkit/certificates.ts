import { randomUUID } from 'node:crypto';
import tls from 'node:tls';
import { generate } from 'selfsigned';

/** A certificate and its private key, in PEM. */
export interface KeyPair {
  cert: string;
  key: string;
}

/** Valid and invalid certificates for TLS to 127.0.0.1 or localhost. */
export interface Certificates {
  /** An authority that is untrusted until `trust` is called with it. */
  ca: KeyPair;
  /** For localhost and 127.0.0.1, by the authority. */
  good: KeyPair;
  /** Like `valid`, but expired yesterday. */
  expired: KeyPair;
  /** By the authority, but for another host name. */
  wrongHost: KeyPair;
  /** Self-signed, for localhost and 127.0.0.1. */
  selfSigned: KeyPair;
  /** By the authority, for hosts that are not on this machine: acme.okta.test, and the unassigned 3000::1. */
  elsewhere: KeyPair;
}

const here = [
  { type: 2, value: 'localhost' },
  { type: 7, ip: '127.0.0.1' },
] as const;

/** Creates new certificates, which takes some milliseconds. */
export async function makeCertificates(): Promise<Certificates> {
  // With a fixed name, TLS clients could confuse it with another trusted authority.
  const ca = await createCertificate(`Test authority ${randomUUID()}`, { isAuthority: true });
  const [good, expired, wrongHost, selfSigned, elsewhere] = await Promise.all([
    createCertificate('localhost', { ca, names: here }),
    createCertificate('localhost', { ca, names: here, notAfter: daysFromNow(-1) }),
    createCertificate('elsewhere.example', { ca, names: [{ type: 2, value: 'elsewhere.example' }] }),
    createCertificate('localhost', { names: here }),
    createCertificate('acme.okta.test', {
      ca,
      names: [
        { type: 2, value: 'acme.okta.test' },
        { type: 7, ip: '3000::1' },
      ],
    }),
  ]);
  return { ca, good, expired, wrongHost, selfSigned, elsewhere };
}

/** Makes this process trust an authority, as an operator would with NODE_EXTRA_CA_CERTS, until it is disposed of. */
export function trust(ca: KeyPair): Disposable {
  const before = tls.getCACertificates('default');
  tls.setDefaultCACertificates([...before, ca.cert]);
  return { [Symbol.dispose]: () => tls.setDefaultCACertificates(before) };
}

/** Creates a certificate for localhost and 127.0.0.1, by the authority, that ends in some days. */
export function certifyHere(ca: KeyPair, validity: { days: number; since?: number }): Promise<KeyPair> {
  const { days, since = 1 } = validity;
  return createCertificate('localhost', {
    ca,
    names: here,
    notBefore: daysFromNow(-since),
    notAfter: daysFromNow(days),
  });
}

interface Wishes {
  ca?: KeyPair;
  isAuthority?: boolean;
  names?: readonly ({ type: 2; value: string } | { type: 7; ip: string })[];
  notBefore?: Date;
  notAfter?: Date;
}

async function createCertificate(
  commonName: string,
  { ca, isAuthority = false, names, notBefore, notAfter }: Wishes,
): Promise<KeyPair> {
  const certificate = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: notBefore ?? daysFromNow(-2),
    notAfterDate: notAfter ?? daysFromNow(1),
    ca,
    extensions: [
      { name: 'basicConstraints', cA: isAuthority, critical: true },
      isAuthority
        ? { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true }
        : { name: 'keyUsage', digitalSignature: true, critical: true },
      ...(names ? [{ name: 'subjectAltName' as const, altNames: [...names] }] : []),
    ],
  });
  return { cert: certificate.cert, key: certificate.private };
}

function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * 24 * 60 * 60 * 1000);
}
