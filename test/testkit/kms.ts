import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { closeServer } from './close-server.ts';

/** The members of a KMS request that tests use. */
export interface KmsRequest {
  action: 'Encrypt' | 'Decrypt';
  KeyId: string;
  EncryptionContext: Record<string, string>;
  Plaintext?: string;
  CiphertextBlob?: string;
  /** The `Authorization` header. */
  authorization: string;
}

/** A response of KMS instead of the normal one: an error by its name, a closed connection, or no response. */
export type KmsBehaviour = (
  request: KmsRequest,
) => undefined | { status: number; error: string } | 'hang up' | Promise<undefined>;

/** A fake AWS KMS on 127.0.0.1 that encrypts, and whose responses can be replaced. */
export interface TestKms extends AsyncDisposable {
  /** The environment with which the SDK finds it. */
  environment: Record<string, string>;
  /** The access key in that environment, which must not appear anywhere. */
  credentials: readonly string[];
  /** Every request so far, the oldest first. */
  requests: readonly KmsRequest[];
  /** Every data key that it handled in plain text, in base64. */
  plaintexts: ReadonlySet<string>;
  /** The ARN of a new key. */
  newKey(): string;
  /** Sets the behaviour of further requests; without an argument, the normal one. */
  behave(behaviour?: KmsBehaviour): void;
  close(): Promise<void>;
}

const region = 'eu-west-1';

/** Responds that access is denied. */
export const denied: KmsBehaviour = () => ({ status: 400, error: 'AccessDeniedException' });

/** Responds that requests are throttled. */
export const throttled: KmsBehaviour = () => ({ status: 400, error: 'ThrottlingException' });

/** Accepts the request and never responds. */
export const silent: KmsBehaviour = () => new Promise(() => {});

/** Closes the connection instead of answering. */
export const closesConnection: KmsBehaviour = () => 'hang up';

export async function startKms(): Promise<TestKms> {
  const keys = new Map<string, Buffer>();
  const requests: KmsRequest[] = [];
  const plaintexts = new Set<string>();
  const credentials = [
    `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
    randomBytes(30).toString('hex'),
  ];
  const [accessKeyId = '', secretAccessKey = ''] = credentials;
  let behaviour: KmsBehaviour = () => undefined;

  const server = createServer(async (request, response) => {
    const kmsRequest = await parse(request);
    requests.push(kmsRequest);
    if (kmsRequest.Plaintext) plaintexts.add(kmsRequest.Plaintext);
    const override = await behaviour(kmsRequest);
    if (override === 'hang up') request.socket.destroy();
    // The message contains a secret, so that a test finds code that echoes it.
    else if (override) send(response, override.status, { __type: override.error, message: secretAccessKey });
    else send(response, ...answer(kmsRequest));
  });

  function answer(kmsRequest: KmsRequest): [status: number, body: object] {
    const { action, KeyId, Plaintext = '', CiphertextBlob = '', authorization } = kmsRequest;
    const isSigned = authorization.includes(`Credential=${accessKeyId}/`);
    if (!isSigned || !authorization.includes(`/${region}/kms/`)) {
      return [400, { __type: 'UnrecognizedClientException' }];
    }
    const key = keys.get(KeyId);
    if (!key) return [400, { __type: 'NotFoundException' }];
    if (action === 'Encrypt') {
      const blob = encrypt(key, kmsRequest, Buffer.from(Plaintext, 'base64'));
      return [200, { CiphertextBlob: blob.toString('base64'), KeyId }];
    }
    try {
      const plain = decrypt(key, kmsRequest, Buffer.from(CiphertextBlob, 'base64')).toString('base64');
      plaintexts.add(plain);
      return [200, { Plaintext: plain, KeyId }];
    } catch {
      return [400, { __type: 'InvalidCiphertextException' }];
    }
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the test KMS has no port');
  const close = () => closeServer(server);
  return {
    environment: {
      AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${address.port}`,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
    },
    credentials,
    requests,
    plaintexts,
    newKey: () => {
      const id = randomBytes(16)
        .toString('hex')
        .replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
      const arn = `arn:aws:kms:${region}:123456789012:key/${id}`;
      keys.set(arn, randomBytes(32));
      return arn;
    },
    behave: (next = () => undefined) => {
      behaviour = next;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function parse(request: IncomingMessage): Promise<KmsRequest> {
  const [, action] = /^TrentService\.(Encrypt|Decrypt)$/.exec(String(request.headers['x-amz-target'])) ?? [];
  if (action !== 'Encrypt' && action !== 'Decrypt') throw new Error('the test KMS only wraps and unwraps');
  const { authorization = '' } = request.headers;
  return { ...JSON.parse(await text(request)), action, authorization };
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
}

/** Serializes an encryption context with sorted names, because KMS ignores their order. */
function serializeContext({ EncryptionContext = {} }: KmsRequest): Buffer {
  return Buffer.from(JSON.stringify(Object.entries(EncryptionContext).sort()));
}

function encrypt(key: Buffer, kmsRequest: KmsRequest, plain: Buffer): Buffer {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(serializeContext(kmsRequest));
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Buffer, kmsRequest: KmsRequest, blob: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, blob.subarray(0, 12))
    .setAAD(serializeContext(kmsRequest))
    .setAuthTag(blob.subarray(-16));
  return Buffer.concat([decipher.update(blob.subarray(12, -16)), decipher.final()]);
}
