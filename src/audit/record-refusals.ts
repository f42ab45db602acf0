import { AppError, OverloadedError } from '../common/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { AuditDeps, AuditEventInput } from './hash-chain.ts';
import type { RefusalRecorder } from './refusal-counter.ts';

/** What recording refusals takes. */
export interface RefusalAuditDeps extends AuditDeps {
  refusals: RefusalRecorder;
}

/** Who tries to do what. */
export type Attempt = Pick<
  AuditEventInput,
  'action' | 'connectionId' | 'connectionName' | 'projectId' | 'apiKeyId' | 'targetName'
>;

/**
 * Does something, and if it is refused, leaves an event that says so. What succeeds leaves its event itself, in the
 * transaction of the change.
 */
export async function withRefusalAudit<T>(
  deps: RefusalAuditDeps,
  caller: Caller,
  attempt: Attempt,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // Whoever is too fast could fill the trail. The log has a line of each request that was too many.
    const isTooFast =
      error instanceof OverloadedError || (error instanceof AppError && error.code === 'RATE_LIMITED');
    if (error instanceof AppError && !isTooFast)
      await deps.refusals.record({ ...attempt, ...caller.actor, outcome: error.code });
    throw error;
  }
}

/** Reads something, and if the caller may not, leaves an event that says so. */
export async function withForbiddenAudit<T>(
  deps: RefusalAuditDeps,
  caller: Caller,
  attempt: Attempt,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof AppError && error.code === 'FORBIDDEN')
      await deps.refusals.record({ ...attempt, ...caller.actor, outcome: error.code });
    throw error;
  }
}
