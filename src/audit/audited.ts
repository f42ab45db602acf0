import type { Caller } from '../access/caller.ts';
import { Problem } from '../errors.ts';
import { type AuditParts, appendEvent, type NewEvent } from './chain.ts';

/** Who tries to do what. */
export type Attempt = Pick<NewEvent, 'action' | 'connectionId' | 'connectionName'>;

/**
 * Does something, and if it is refused, leaves an event that says so. What succeeds leaves its event itself, in the
 * transaction of the change.
 */
export async function auditRefusals<T>(
  parts: AuditParts,
  caller: Caller,
  attempt: Attempt,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Problem) {
      const { orgId, keyId } = caller;
      const em = parts.database.fork();
      await em.transactional((tx) =>
        appendEvent(tx, parts, { ...attempt, orgId, keyId, outcome: error.code }),
      );
    }
    throw error;
  }
}
