import { createHash } from 'node:crypto';
import { Refused } from './refused.ts';

/** The lifetime of a cached API key, the same as the product's. */
const believedMs = 1_500;

/** The columns of an API key that authentication needs. */
export interface StoredKey {
  orgId: string;
  expiresAt: Date | null;
  revokedAt: Date | null;
}

/**
 * Creates the authentication: from the `Authorization` header to the id of the caller's organisation.
 *
 * @param find looks a key up by its SHA-256, in hex
 */
export function createKeyCheck(find: (hash: string) => Promise<StoredKey | null | undefined>) {
  const believed = new Map<string, { orgId: string; until: number }>();
  return async (authorization: string | undefined): Promise<string> => {
    const [, key] = /^Bearer +([\x21-\x7e]{1,512})$/i.exec(authorization ?? '') ?? [];
    if (!key) throw new Refused(401, 'UNAUTHENTICATED');
    const hash = createHash('sha256').update(key).digest('hex');
    const known = believed.get(hash);
    if (known && known.until > Date.now()) return known.orgId;
    const found = await find(hash);
    const isGood = found && !found.revokedAt && !(found.expiresAt && found.expiresAt <= new Date());
    if (!isGood) throw new Refused(401, 'UNAUTHENTICATED');
    believed.set(hash, { orgId: found.orgId, until: Date.now() + believedMs });
    return found.orgId;
  };
}
