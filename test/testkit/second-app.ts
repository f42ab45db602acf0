import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  type KeyObject,
  sign,
} from 'node:crypto';
import { z } from 'zod';
import type { App, AuthMethod } from '../../src/apps/app.ts';
import type { Credentials, Field, VerificationResult } from '../../src/apps/credentials.ts';
import { InvalidKeyError, type KeyPair } from '../../src/apps/managed-keys.ts';
import { type AppReads, type ReadObject, text } from '../../src/apps/typed-read.ts';
import { Secret } from '../../src/common/secret.ts';
import type { Outbound } from '../../src/outbound/outbound.ts';
import type { Behaviour } from './okta.ts';

/**
 * An invented app that differs from Okta in every way that the app interface allows: its name has two words; one of its
 * methods has no URL, several secrets, one of them optional, and an id of its own; another shares its id with Okta's
 * method; the third has a key pair that the server can make, and a list. It reports no owner of the credentials and has no
 * organisations to move between.
 */
export function parcelDepot({ origin }: { origin: string }): App {
  return {
    id: 'parcel-depot',
    name: 'Parcel Depot',
    description: 'Parcel Depot, which keeps parcels.',
    methods: [signedRequests(origin), apiToken, keyPair(origin)],
    usePresets: [
      {
        id: 'PARCELS_READ',
        description: 'Reading parcels.',
        rules: [{ effect: 'ALLOW', methods: ['GET'], path: '/**' }],
      },
    ],
    reads: depotReads,
  };
}

const region: Field = {
  label: 'Region',
  kind: 'TEXT',
  schema: z
    .string()
    .trim()
    .toLowerCase()
    .regex(/^[a-z]{2}$/, { error: 'A region is two letters, such as eu.' }),
  required: false,
  placeholder: 'eu',
  help: 'Where the parcels are.',
  whereToFind: 'It is the first part of every shelf number.',
};

function signedRequests(origin: string): AuthMethod {
  return {
    id: 'signed-requests',
    label: 'Signed requests',
    description: 'A client with a password, and a key that signs what it sends.',
    fields: {
      clientId: {
        label: 'Client id',
        kind: 'TEXT',
        schema: z
          .string({ error: 'Give the client id.' })
          .regex(/^c-\d+$/, { error: 'A client id is c-12345.' }),
        required: true,
        placeholder: 'c-12345',
        help: 'The id of the client.',
        whereToFind: 'On the gate pass.',
      },
      clientSecret: secretField('Client secret'),
      signingKey: secretField('Signing key'),
      passphrase: { ...secretField('Passphrase'), required: false },
      region,
    },
    verify: (credentials, outbound) => verifyDepot(new URL('/check', origin), credentials, outbound),
  };
}

const apiToken: AuthMethod = {
  id: 'api-token',
  label: 'Depot token',
  description: 'A token for one depot.',
  fields: {
    instanceUrl: {
      label: 'Depot',
      kind: 'URL',
      schema: z.url({ error: 'Give the address of the depot.' }).transform((url) => new URL(url).origin),
      required: true,
      placeholder: 'https://depot.example',
      help: 'The address of the depot.',
      whereToFind: 'Over the gate.',
    },
    apiToken: secretField('Depot token'),
    region,
  },
  verify: (credentials, outbound) =>
    verifyDepot(new URL('/check', credentials.public.instanceUrl), credentials, outbound),
  use: {
    getOrigin: ({ public: { instanceUrl } }) => new URL(instanceUrl ?? ''),
    createAuthorizer: ({ secret: { apiToken } }) => ({
      authorize: () => ({ headers: { 'x-depot-token': apiToken?.reveal() ?? '' } }),
    }),
    rejection: { status: 401, isConfirmedBy: () => true },
  },
};

/** A method with a key pair, which is declared only: no shared code knows Ed25519, shelves or the depot. */
function keyPair(origin: string): AuthMethod {
  const toPair = (key: KeyObject, keyId?: string): KeyPair => {
    const publicJwk = createPublicKey(key).export({ format: 'jwk' }) as Record<string, string>;
    const kid = keyId ?? hash('sha256', publicJwk.x ?? '', 'hex').slice(0, 12);
    return {
      privateKey: new Secret(key.export({ format: 'pem', type: 'pkcs8' }).toString()),
      publicKey: { keyId: kid, publicJwk: { ...publicJwk, kid } },
    };
  };
  return {
    id: 'key-pair',
    label: 'Key pair',
    description: 'A key that signs what is sent to some shelves.',
    hasOwnCredentialsType: true,
    fields: {
      shelves: {
        label: 'Shelves',
        kind: 'LIST',
        schema: z
          .array(z.string().regex(/^\d+$/, { error: 'A shelf is a number.' }), { error: 'Name the shelves.' })
          .transform((shelves) => shelves.sort().join(' ')),
        required: true,
        placeholder: '1 2',
        help: 'The shelves.',
        whereToFind: 'In the hall.',
      },
      depotKey: { ...secretField('Depot key'), required: false },
      depotKeyName: { ...region, schema: z.string(), label: 'Key name', help: 'The name of the key.' },
      region,
    },
    managedKeys: {
      privateKeyField: 'depotKey',
      keyIdField: 'depotKeyName',
      generate: async () => toPair(generateKeyPairSync('ed25519').privateKey),
      read: async ({ public: { depotKeyName }, secret: { depotKey } }) => {
        try {
          return toPair(createPrivateKey(depotKey?.reveal() ?? ''), depotKeyName);
        } catch {
          throw new InvalidKeyError('This is no key of the depot.');
        }
      },
      pending: { message: 'The depot does not know the key yet.', remedy: 'Hang the key on the gate.' },
    },
    verify: (credentials, outbound) => {
      const { shelves = '' } = credentials.public;
      const key = createPrivateKey(credentials.secret.depotKey?.reveal() ?? '');
      const signature = sign(null, Buffer.from(shelves), key).toString('hex');
      const shown = { public: credentials.public, secret: { signature: new Secret(signature) } };
      return verifyDepot(new URL('/check', origin), shown, outbound);
    },
    use: {
      getOrigin: () => new URL(origin),
      createAuthorizer: () => ({ authorize: () => ({ headers: { 'x-depot-token': 'the-depot-token' } }) }),
      rejection: { status: 401, isConfirmedBy: () => true },
    },
  };
}

const parcel: ReadObject = {
  name: 'Parcel',
  description: 'A parcel.',
  schema: z.object({
    number: z.string().describe('The number.'),
    grams: z.int32().nullish().describe('The weight.'),
    isFragile: z.boolean().nullish().describe('Whether it breaks.'),
    labels: z
      .array(z.object({ text: text('The text.') }))
      .nullish()
      .describe('The labels.'),
  }),
};

const depotReads: AppReads = {
  fields: [
    {
      field: 'parcels',
      description: 'The parcels on a shelf.',
      path: '/shelves/{shelf}/parcels',
      arguments: {
        shelf: { schema: z.string().min(1, 'Name a shelf.'), description: 'The name of the shelf.' },
        fragileOnly: { schema: z.boolean().optional(), description: 'Whether to leave out the others.' },
      },
      object: parcel,
      pages: { maxSize: 50, sizeParameter: { name: 'per_page', min: 1 } },
    },
    {
      parent: parcel,
      field: 'next',
      description: 'The parcel behind it.',
      path: '/parcels/{number}/next',
      object: parcel,
    },
  ],
  readErrorCode: (body) => (Object(body).problem === undefined ? undefined : 'DEPOT-1'),
  readRequestId: ({ 'x-depot-request': id }) => id,
};

function secretField(label: string): Field {
  return {
    label,
    kind: 'SECRET',
    schema: z
      .instanceof(Secret, { error: `Give the ${label.toLowerCase()}.` })
      .refine((secret) => secret.reveal().length > 0, { error: `The ${label.toLowerCase()} is empty.` }),
    required: true,
    placeholder: '••••',
    help: `The ${label.toLowerCase()}.`,
    whereToFind: 'In the safe.',
  };
}

/** Sends all credentials to the depot, as JSON in `authorization`, so that a test can inspect them. */
async function verifyDepot(
  url: URL,
  credentials: Credentials,
  outbound: Outbound,
): Promise<VerificationResult> {
  const secrets = Object.entries(credentials.secret).map(([name, secret]) => [name, secret.reveal()]);
  const authorization = JSON.stringify({ ...credentials.public, ...Object.fromEntries(secrets) });
  const { status, headers } = await outbound.get(url, { headers: { authorization } });
  const upstreamRequestId = headers['x-depot-request'] ?? null;
  if (status === 200) return { status: 'VERIFIED', account: null, upstreamRequestId };
  return {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message: 'Parcel Depot does not know these credentials.',
    remedy: 'Ask at the gate.',
    upstreamRequestId,
  };
}

/** A depot that rejects credentials that contain "wrong" and accepts all others. Behind parcel `p-1` is `p-2`, the last one. */
export const fakeParcelDepot: Behaviour = (request, response) => {
  const headers = { 'content-type': 'application/json', 'x-depot-request': 'depot-request-1' };
  if (request.headers['x-depot-token'] === 'the-depot-token') {
    const parcels = {
      one: { number: 'p-1', grams: 5, isFragile: true, labels: [{ text: 'up' }] },
      two: { number: 'p-2' },
    };
    if (request.url?.startsWith('/shelves/'))
      response.writeHead(200, headers).end(JSON.stringify([parcels.one]));
    else if (request.url === '/parcels/p-1/next')
      response.writeHead(200, headers).end(JSON.stringify(parcels.two));
    else response.writeHead(404, headers).end('{"problem":"none"}');
    return;
  }
  const isWrong = request.headers.authorization?.includes('wrong');
  response.writeHead(isWrong ? 401 : 200, { 'x-depot-request': 'depot-request-1' }).end('{}');
};
