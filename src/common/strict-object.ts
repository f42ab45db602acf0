import { z } from 'zod';

/**
 * An object that rejects unknown members, because a misspelt member would have no effect. The message does not repeat the
 * name, which may be a secret.
 */
export function strictObject<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, {
    error: ({ code }) => {
      const known = `Known members: ${Object.keys(shape).join(', ') || 'none'}.`;
      if (code === 'unrecognized_keys') return `There is an unknown member. ${known}`;
      return code === 'invalid_type' ? `Give an object. ${known}` : undefined;
    },
  });
}
