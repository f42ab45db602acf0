import { createSecretKey, type KeyObject } from 'node:crypto';
import { DecryptionError, openJwe, sealJwe } from './jwe.ts';
import { type DataKeyBinding, dataKeyContext, type RootKey } from './root-key.ts';

/** A root key of 32 bytes in the memory of this process. It wraps data keys as compact JWEs. */
export class LocalRootKey implements RootKey {
  readonly #id: string;
  readonly #key: KeyObject;

  constructor(id: string, bytes: Uint8Array) {
    this.#id = id;
    this.#key = createSecretKey(bytes);
  }

  async wrap(dataKey: Uint8Array, binding: DataKeyBinding): Promise<string> {
    return sealJwe(dataKey, this.#key, this.#id, dataKeyContext(binding));
  }

  unwrap(wrapped: string, binding: DataKeyBinding): Promise<Uint8Array> {
    return openJwe(wrapped, {
      subject: 'The data key',
      getKey: (id) => {
        if (id !== this.#id) throw new DecryptionError('The data key was wrapped by another root key.');
        return this.#key;
      },
      context: dataKeyContext(binding),
    });
  }
}
