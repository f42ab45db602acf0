import { AppError } from '../common/errors.ts';

/** What a data key is for and whose it is; a wrapped key opens for nothing else. */
export interface DataKeyBinding {
  id: string;
  orgId: string;
  purpose: string;
  /** Whether the key was wrapped in a database whose rows carry MACs. */
  hasRowMacs?: boolean;
}

/**
 * A key provider: it wraps data keys under one root key, which never leaves it, and authenticates with each wrapped key
 * what that is for.
 */
export interface RootKey {
  /** @throws KmsUnavailableError */
  wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<string>;
  /**
   * @throws DecryptionError when the wrapped key is not whole, or was wrapped for another binding or under another root key
   * @throws KmsUnavailableError
   */
  unwrap(wrapped: string, binding: DataKeyBinding): Promise<Uint8Array>;
}

/** A binding by the names under which it is authenticated. They are stored with every wrapped key: never change them. */
export function encryptionContext({
  id,
  orgId,
  purpose,
  hasRowMacs,
}: DataKeyBinding): Record<string, string> {
  return { dk: id, org: orgId, use: purpose, ...(hasRowMacs && { rows: 'mac' }) };
}

/** The service that has a root key did not do its part. Nothing is said about what is stored. */
export class KmsUnavailableError extends AppError {
  /** One sentence for the operator. */
  readonly reason: string;

  /** @param why what follows "the root key cannot be used:"; nothing secret, and no message of the service's */
  constructor(rootKeyId: string, why: string) {
    super('UPSTREAM_UNREACHABLE', "The service that holds this server's keys did not do its part.", {
      remedy: 'Nothing was changed; try again later. If it goes on, tell the operator.',
    });
    this.reason = `the root key "${rootKeyId}" cannot be used: ${why}`;
  }
}
