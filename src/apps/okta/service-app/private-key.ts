import { z } from 'zod';
import { Secret } from '../../../common/secret.ts';
import type { OAuth } from '../../../oauth/oauth.ts';
import type { Credentials } from '../../credentials.ts';
import { InvalidKeyError, type KeyPair, type ManagedKeys } from '../../managed-keys.ts';

/** The id of a key in the header of a JWT. */
const keyIdPattern = /^[\x21-\x7e]{1,255}$/;

/**
 * The schema of a private key. The value is a private JWK with the id that the given JWK had, if any.
 *
 * @param oauth absent in a browser, which leaves the check of the key to the server
 */
export function privateKeySchema(oauth: OAuth | undefined) {
  return z
    .instanceof(Secret, { error: 'Give the private key, or leave it out and this server makes one.' })
    .transform((given, context) => {
      if (!oauth) return given;
      try {
        const kid = readJwkKeyId(given);
        return withKeyId(oauth.parsePrivateKey(given), kid);
      } catch (error) {
        if (!(error instanceof oauth.InvalidPrivateKey)) throw error;
        context.addIssue({ code: 'custom', message: error.message });
        return z.NEVER;
      }
    });
}

/** The beginnings of a JWK and of a private key as DER in base64, which people give instead of an id. An id is published. */
const keyPattern = /^\s*(\{|-----|M[HI][A-Za-z0-9+/]{90})/;

/** The schema of the id of a key. */
export const keyIdSchema = z
  .string()
  .refine((text) => !keyPattern.test(text), {
    error: 'This is a key and not its id. Give the private key in its own field.',
    abort: true,
  })
  .trim()
  .regex(keyIdPattern, {
    error:
      'A key id has 1 to 255 visible ASCII characters and no spaces. Okta shows it beside the key, under “Public Keys”.',
  });

/** How service apps use key pairs. */
export function createServiceAppKeys(oauth: OAuth | undefined): ManagedKeys {
  return {
    privateKeyField: 'privateKey',
    keyIdField: 'keyId',
    generate: async () => toKeyPair(requireOAuth(oauth), await requireOAuth(oauth).generatePrivateKey()),
    read: ({ public: { keyId }, secret: { privateKey } }) => {
      if (privateKey === undefined) throw new InvalidKeyError('Give the private key.');
      return toKeyPair(requireOAuth(oauth), privateKey, keyId);
    },
    pending: {
      message: 'Okta does not know the key of this connection yet.',
      remedy:
        'In the Okta Admin Console, open the app under Applications, choose “Public key / Private key” under General > ' +
        'Client Credentials, and give Okta the address in jwksUrl (“Use a URL to fetch keys dynamically”) or the public key ' +
        'itself. Grant the scopes under “Okta API Scopes”, assign an admin role under “Admin roles”, and verify the connection.',
    },
  };
}

/** The id with which the key of valid credentials is known to Okta. */
export function getKeyId({ public: { keyId }, secret: { privateKey } }: Credentials): string {
  const kid = keyId ?? (privateKey && readJwkKeyId(privateKey));
  if (kid === undefined) throw new Error('Okta credentials were not checked');
  return kid;
}

/** Returns the tools for keys. Browsers do not have them, and do not need them. */
export function requireOAuth(oauth: OAuth | undefined): OAuth {
  if (!oauth) throw new TypeError('Apps were created without OAuth.');
  return oauth;
}

async function toKeyPair(oauth: OAuth, jwk: Secret, keyId?: string): Promise<KeyPair> {
  const { kid, ...members } = await oauth.toPublicJwk(jwk, keyId ?? readJwkKeyId(jwk));
  const ownKeyId = readJwkKeyId(jwk) ?? (keyId === undefined ? kid : (await oauth.toPublicJwk(jwk)).kid);
  return { privateKey: withKeyId(jwk, ownKeyId), publicKey: { keyId: kid, publicJwk: { ...members, kid } } };
}

function withKeyId(jwk: Secret, kid: string | undefined): Secret {
  return kid === undefined ? jwk : new Secret(JSON.stringify({ ...JSON.parse(jwk.reveal()), kid }));
}

/** Reads the member `kid` of a JWK; undefined if there is none, or if the text is no JWK. */
function readJwkKeyId(key: Secret): string | undefined {
  const text = key.reveal().trim();
  if (!text.startsWith('{')) return undefined;
  try {
    const { kid } = Object(JSON.parse(text));
    return typeof kid === 'string' && keyIdPattern.test(kid) ? kid : undefined;
  } catch {
    return undefined;
  }
}
