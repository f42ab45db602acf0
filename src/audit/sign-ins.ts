import { LRUCache } from 'lru-cache';
import type { Authenticator } from '../access/authenticator.ts';
import { nobodyId } from '../access/organisations.ts';
import { SignInFailure } from '../access/sign-in-failure.ts';
import { currentRequest } from '../log.ts';
import { type AuditParts, appendEvent } from './chain.ts';

const quietMs = 60_000;
const maxKnown = 10_000;
const maxStrangers = 100;

/**
 * Signs callers in, and leaves an event for what is refused: in the trail of the organisation whose credential it was,
 * or else in the one of nobody. At most one a minute for each API key or subject of tokens, or for each address if it
 * is nobody's, and no more than 100 a minute of strangers in all, so that whoever is kept out cannot fill the trail,
 * however many addresses they have.
 */
export function auditSignIns(parts: AuditParts, authenticator: Authenticator): Authenticator['authenticate'] {
  const told = new LRUCache<string, number>({ max: maxKnown });
  let strangers: number[] = [];
  const isToBeTold = (about: string, isStranger: boolean): boolean => {
    const now = Date.now();
    if ((told.get(about) ?? 0) > now - quietMs) return false;
    if (isStranger) {
      strangers = strangers.filter((time) => time > now - quietMs);
      if (strangers.length >= maxStrangers) return false;
      strangers.push(now);
    }
    told.set(about, now);
    return true;
  };
  return async (authorization) => {
    try {
      return await authenticator.authenticate(authorization);
    } catch (error) {
      if (error instanceof SignInFailure) {
        const { orgId = nobodyId, keyId = null, subject = null } = error.suspect ?? {};
        const address = currentRequest.getStore()?.address;
        const about = JSON.stringify(error.suspect ?? { address });
        if (isToBeTold(about, !error.suspect)) {
          await parts.database
            .fork(orgId)
            .transactional((em) =>
              appendEvent(em, parts, { orgId, keyId, subject, action: 'SIGN_IN', outcome: error.code }),
            )
            .catch((failure: unknown) => {
              // It was not told after all; the next one is to be.
              told.delete(about);
              throw failure;
            });
        }
      }
      throw error;
    }
  };
}
