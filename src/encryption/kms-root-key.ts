import type { KMS } from '@aws-sdk/client-kms';
import { operatorSocketLookup } from '../outbound/dns-lookup.ts';
import { DecryptionError } from './jwe.ts';
import { type DataKeyBinding, encryptionContext, KmsUnavailableError, type RootKey } from './root-key.ts';

const answerWithinMs = 5_000;

/**
 * A root key in AWS KMS, which this process asks to wrap and unwrap. The binding is the encryption context: KMS
 * authenticates it, and writes it into the account's CloudTrail.
 *
 * The client finds the account's credentials in the SDK's standard ways and talks to where the operator has said, so
 * it does not go through outbound/, which guards against hosts that callers name.
 */
export class KmsRootKey implements RootKey {
  readonly #id: string;
  readonly #arn: string;
  readonly #region: string;
  #client: Promise<KMS> | undefined;

  /** @param key its ARN, and the region that is in it */
  constructor(id: string, key: { arn: string; region: string }) {
    this.#id = id;
    this.#arn = key.arn;
    this.#region = key.region;
  }

  async wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<string> {
    const given = { ...this.#about(binding), Plaintext: dataKey };
    const { CiphertextBlob } = await this.#ask((kms, limits) => kms.encrypt(given, limits));
    return Buffer.from(this.#have(CiphertextBlob)).toString('base64');
  }

  async unwrap(wrapped: string, binding: DataKeyBinding): Promise<Uint8Array> {
    const given = { ...this.#about(binding), CiphertextBlob: Buffer.from(wrapped, 'base64') };
    const { Plaintext } = await this.#ask((kms, limits) => kms.decrypt(given, limits));
    return this.#have(Plaintext);
  }

  #about(binding: DataKeyBinding) {
    return { KeyId: this.#arn, EncryptionContext: encryptionContext(binding) };
  }

  /** The SDK asks up to three times; all of that has to be over in time. */
  async #ask<T>(question: (kms: KMS, limits: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    this.#client ??= connect(this.#region);
    const kms = await this.#client;
    try {
      return await question(kms, { abortSignal: AbortSignal.timeout(answerWithinMs) });
    } catch (error) {
      throw this.#failureOf(error);
    }
  }

  #have(bytes: Uint8Array | undefined): Uint8Array {
    if (bytes?.length) return bytes;
    throw new KmsUnavailableError(this.#id, 'AWS KMS answered with nothing');
  }

  /** The messages of the SDK are left out: they are made of what it was sent and what it was answered. */
  #failureOf(error: unknown): Error {
    const name = errorName(error);
    if (name === 'InvalidCiphertextException' || name === 'IncorrectKeyException') {
      return new DecryptionError(
        'The data key was changed, or wrapped for another place or by another root key.',
      );
    }
    return new KmsUnavailableError(this.#id, `AWS KMS ${reasons[name] ?? 'failed'} (${name})`);
  }
}

/** Only where KMS is used is its client loaded. */
async function connect(region: string): Promise<KMS> {
  const { KMS } = await import('@aws-sdk/client-kms');
  // Node's own look-ups would take the threads of the process for as long as a name server is silent.
  const agent = { keepAlive: true, lookup: operatorSocketLookup };
  return new KMS({ region, requestHandler: { httpAgent: agent, httpsAgent: agent } });
}

/** What a failure is called: by the operating system, or by AWS. */
function errorName(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const { code } = error as { code?: unknown };
  const name = typeof code === 'string' ? code : error.name;
  return /^\w{1,64}$/.test(name) ? name : 'unknown error';
}

const [isAway, isRefusing, isBusy, isNoKey] = [
  'could not be reached',
  'refused the credentials, or they may not use this key',
  'asks to slow down',
  'has no such key, or it is disabled',
];

const reasons: Readonly<Record<string, string>> = {
  AbortError: `did not answer within ${answerWithinMs / 1_000} s`,
  TimeoutError: `did not answer within ${answerWithinMs / 1_000} s`,
  ECONNREFUSED: isAway,
  ECONNRESET: isAway,
  EHOSTUNREACH: isAway,
  ENETUNREACH: isAway,
  ENOTFOUND: isAway,
  EAI_AGAIN: isAway,
  EPIPE: isAway,
  ETIMEDOUT: isAway,
  AccessDeniedException: isRefusing,
  ExpiredTokenException: isRefusing,
  IncompleteSignatureException: isRefusing,
  InvalidSignatureException: isRefusing,
  MissingAuthenticationTokenException: isRefusing,
  UnrecognizedClientException: isRefusing,
  CredentialsProviderError: 'could not be asked, because there are no AWS credentials',
  LimitExceededException: isBusy,
  ThrottlingException: isBusy,
  DisabledException: isNoKey,
  KMSInvalidStateException: isNoKey,
  NotFoundException: isNoKey,
};
