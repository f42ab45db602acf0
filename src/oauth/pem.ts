/** The DER content of a private key in a PEM text. */
export interface PrivateKeyDer {
  key: Buffer;
  type: 'pkcs1' | 'pkcs8' | 'sec1';
}

const privateLabels: Readonly<Record<string, PrivateKeyDer['type']>> = {
  'PRIVATE KEY': 'pkcs8',
  'RSA PRIVATE KEY': 'pkcs1',
  'EC PRIVATE KEY': 'sec1',
};

/** Labels of other PEM texts (RFC 7468), with what to tell a person who gives one instead of a private key. */
const otherLabels: readonly (readonly [RegExp, string])[] = [
  [
    /^ENCRYPTED PRIVATE KEY$/,
    'The private key is encrypted with a passphrase. Decrypt it first, for example with “openssl pkey”.',
  ],
  [/PUBLIC KEY$/, 'This is a public key. Give the private key that belongs to it.'],
  [/CERTIFICATE REQUEST$/, 'This is a certificate request. Give the private key that belongs to it.'],
  [/CERTIFICATE$/, 'This is a certificate. Give the private key that belongs to it.'],
  [
    /^OPENSSH PRIVATE KEY$/,
    'This is a key in the format of OpenSSH. Convert it with “ssh-keygen -p -m PKCS8”.',
  ],
  [/^PGP /, 'This is a PGP key, which cannot sign client assertions.'],
  [/^DSA PRIVATE KEY$/, 'This is a DSA key. Use an RSA key or an elliptic curve key.'],
];

/**
 * Finds the private key in a PEM text (RFC 7468). Environment variables and forms often replace its line breaks by spaces or by
 * the characters `\n`, so white space of any kind and amount is accepted.
 *
 * @returns a sentence about what the text is instead, if it has no private key
 */
export function findPem(text: string): PrivateKeyDer | string {
  const blocks = [
    ...text
      .replace(/\\r\\n|\\[nr]/g, '\n')
      .matchAll(/-----BEGIN ([A-Z0-9 ]{1,40})-----([\s\S]*?)-----END \1-----/g),
  ].map(([, label = '', content = '']) => ({ label, content }));
  const [found, ...others] = blocks.filter(({ label }) => Object.hasOwn(privateLabels, label));
  if (others.length > 0) return 'The text has several private keys. Give one of them.';
  const type = privateLabels[found?.label ?? ''];
  if (found && type) {
    if (/Proc-Type:\s*4,ENCRYPTED/.test(found.content)) return otherLabels[0]?.[1] ?? '';
    return { key: Buffer.from(found.content.replace(/\s/g, ''), 'base64'), type };
  }
  const [other] = blocks;
  const known = other && otherLabels.find(([pattern]) => pattern.test(other.label));
  if (known) return known[1];
  if (other) return 'This PEM text has no private key.';
  if (/-----BEGIN/.test(text))
    return 'The PEM text is cut off: it has no “-----END …-----” line for its first line.';
  return 'This is not a private key.';
}
