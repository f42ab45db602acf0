import type { KMS } from '@aws-sdk/client-kms';
import { errorField } from '../common/error-field.ts';
import { operatorSocketLookup } from '../outbound/dns-lookup.ts';
import { DecryptionError } from './jwe.ts';
import { type DataKeyBinding, dataKeyContext, KmsUnavailableError, type RootKey } from './root-key.ts';

const timeoutMs = 5_000;

/**
 * A root key in AWS KMS, which wraps and unwraps data keys. The binding is the encryption context: KMS authenticates it
 * and writes it into the account's CloudTrail.
 *
 * The SDK finds credentials and endpoint in its standard ways. The operator chooses the endpoint, so requests do not go
 * through outbound/, which guards against hosts that callers name.
 */
export class KmsRootKey implements RootKey {
  readonly #id: string;
  readonly #arn: string;
  readonly #region: string;
  #client: Promise<KMS> | undefined;

  /** @param key the ARN of the KMS key, and the region in it */
  constructor(id: string, key: { arn: string; region: string }) {
    this.#id = id;
    this.#arn = key.arn;
    this.#region = key.region;
  }

  async wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<string> {
    const parameters = { ...this.#keyParameters(binding), Plaintext: dataKey };
    const { CiphertextBlob } = await this.#call((kms, options) => kms.encrypt(parameters, options));
    return Buffer.from(this.#requireBytes(CiphertextBlob)).toString('base64');
  }

  async unwrap(wrapped: string, binding: DataKeyBinding): Promise<Uint8Array> {
    const parameters = { ...this.#keyParameters(binding), CiphertextBlob: Buffer.from(wrapped, 'base64') };
    const { Plaintext } = await this.#call((kms, options) => kms.decrypt(parameters, options));
    return this.#requireBytes(Plaintext);
  }

  #keyParameters(binding: DataKeyBinding) {
    return { KeyId: this.#arn, EncryptionContext: dataKeyContext(binding) };
  }

  /** One time-out covers all attempts, because the SDK retries up to three times. */
  async #call<T>(request: (kms: KMS, options: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    this.#client ??= connect(this.#region);
    const kms = await this.#client;
    try {
      return await request(kms, { abortSignal: AbortSignal.timeout(timeoutMs) });
    } catch (error) {
      throw this.#toError(error);
    }
  }

  #requireBytes(bytes: Uint8Array | undefined): Uint8Array {
    if (bytes?.length) return bytes;
    throw new KmsUnavailableError(this.#id, 'AWS KMS returned no data');
  }

  /** Omits the SDK's messages, which contain parts of the request and the response. */
  #toError(error: unknown): Error {
    const name = errorName(error);
    if (name === 'InvalidCiphertextException' || name === 'IncorrectKeyException') {
      return new DecryptionError(
        'The data key was changed, or was wrapped for another binding or by another root key.',
      );
    }
    return new KmsUnavailableError(this.#id, `AWS KMS ${reasons[name] ?? 'failed'} (${name})`);
  }
}

/** Loads the SDK only when KMS is used. */
async function connect(region: string): Promise<KMS> {
  const { KMS } = await import('@aws-sdk/client-kms');
  // getaddrinfo, Node's default, would occupy the thread pool while a name server does not answer.
  const agent = { keepAlive: true, lookup: operatorSocketLookup };
  return new KMS({ region, requestHandler: { httpAgent: agent, httpsAgent: agent } });
}

/** Returns the system's error code, such as `ECONNREFUSED`, or the name of the AWS exception. */
function errorName(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const name = errorField(error, 'code') ?? error.name;
  return /^\w{1,64}$/.test(name) ? name : 'unknown error';
}

const unreachable = 'could not be reached';
const accessDenied = 'refused the credentials, or they lack permission for this key';
const throttled = 'throttled the request';
const keyUnavailable = 'has no such key, or it is disabled';

const reasons: Readonly<Record<string, string>> = {
  AbortError: `did not answer within ${timeoutMs / 1_000} s`,
  TimeoutError: `did not answer within ${timeoutMs / 1_000} s`,
  ECONNREFUSED: unreachable,
  ECONNRESET: unreachable,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  ENOTFOUND: unreachable,
  EAI_AGAIN: unreachable,
  EPIPE: unreachable,
  ETIMEDOUT: unreachable,
  AccessDeniedException: accessDenied,
  ExpiredTokenException: accessDenied,
  IncompleteSignatureException: accessDenied,
  InvalidSignatureException: accessDenied,
  MissingAuthenticationTokenException: accessDenied,
  UnrecognizedClientException: accessDenied,
  CredentialsProviderError: 'could not be asked, because there are no AWS credentials',
  LimitExceededException: throttled,
  ThrottlingException: throttled,
  DisabledException: keyUnavailable,
  KMSInvalidStateException: keyUnavailable,
  NotFoundException: keyUnavailable,
};
