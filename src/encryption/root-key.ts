import { AppError } from '../common/errors.ts';

/** The identity, owner and purpose of a data key. A wrapped key unwraps for the same binding only. */
export interface DataKeyBinding {
  id: string;
  orgId: string;
  purpose: string;
  /** Whether the key was wrapped in a database whose rows carry MACs. */
  hasRowMacs?: boolean;
}

/** A key provider. It wraps data keys under one root key, which never leaves it, and authenticates their binding. */
export interface RootKey {
  /** @throws KmsUnavailableError */
  wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<string>;
  /**
   * @throws DecryptionError when the wrapped key was changed, or belongs to another binding or root key
   * @throws KmsUnavailableError
   */
  unwrap(wrapped: string, binding: DataKeyBinding): Promise<Uint8Array>;
}

/**
 * Returns the encryption context of a data key. Every wrapped key was authenticated with these names and values, so they
 * must not change.
 */
export function dataKeyContext({ id, orgId, purpose, hasRowMacs }: DataKeyBinding): Record<string, string> {
  return { dk: id, org: orgId, use: purpose, ...(hasRowMacs && { rows: 'mac' }) };
}

/** The KMS that has a root key did not respond, or refused. The stored data is not at fault. */
export class KmsUnavailableError extends AppError {
  /** One sentence for the operator. */
  readonly reason: string;

  /** @param why follows "the root key cannot be used:"; contains no secret and no message of the KMS */
  constructor(rootKeyId: string, why: string) {
    super(
      'UPSTREAM_UNREACHABLE',
      'The key management service of this server did not respond or refused the request.',
      {
        remedy: 'Nothing was changed. Try again later; if the error persists, contact the operator.',
      },
    );
    this.reason = `the root key "${rootKeyId}" cannot be used: ${why}`;
  }
}
