import type { Caller } from '../access/caller.ts';
import { Overload, Problem } from '../errors.ts';
import { type AuditParts, appendEvent, type NewEvent } from './chain.ts';

/** Who tries to do what. */
export type Attempt = Pick<
  NewEvent,
  'action' | 'connectionId' | 'connectionName' | 'projectId' | 'apiKeyId' | 'targetName'
>;

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
    // Whoever is too fast could fill the trail. The log has a line of each request that was too many.
    const isTooFast =
      error instanceof Overload || (error instanceof Problem && error.code === 'RATE_LIMITED');
    if (error instanceof Problem && !isTooFast) await tell(parts, caller, attempt, error);
    throw error;
  }
}

/** Reads something, and if the caller may not, leaves an event that says so. */
export async function auditForbidden<T>(
  parts: AuditParts,
  caller: Caller,
  attempt: Attempt,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Problem && error.code === 'FORBIDDEN') await tell(parts, caller, attempt, error);
    throw error;
  }
}

async function tell(parts: AuditParts, caller: Caller, attempt: Attempt, { code }: Problem): Promise<void> {
  const em = parts.database.fork(caller.orgId);
  await em.transactional((tx) => appendEvent(tx, parts, { ...attempt, ...caller.actor, outcome: code }));
}
