import { currentRequest } from '../common/log.ts';
import type { DataKey } from './data-key.entity.ts';
import { DecryptionError } from './jwe.ts';

/** A data key by its id; without one, the active data key of an organisation for a purpose. */
export type DataKeyReference = Pick<DataKey, 'orgId' | 'purpose'> & { id?: string };

/** A data key cannot be used, because its row or its root key is damaged or missing. The message contains no key. */
export class DataKeyError extends DecryptionError {
  readonly dataKey: DataKeyReference;

  constructor(message: string, dataKey: DataKeyReference) {
    super(message);
    this.dataKey = dataKey;
  }
}

/**
 * Describes a data key that cannot be used to a caller of its organisation. The caller can do nothing but tell the operator, to whom
 * the log has named the key when it was found.
 */
export function describeDataKeyError({ dataKey: { id, purpose } }: DataKeyError) {
  const name = id ? `${purpose} key ${id}` : `active ${purpose} key`;
  return {
    message: `The ${name} of this organisation cannot be used, so nothing was done. Other organisations are not affected.`,
    requestId: currentRequest.getStore()?.id,
    remedy: `Tell the operator of the server that this key is damaged: "app-connections doctor" says how to restore it. Repeating the request does not help before that.`,
  };
}
