import { AppError, OverloadedError } from '../common/errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { AuditDeps, AuditEventInput } from './hash-chain.ts';
import type { RefusalRecorder } from './refusal-counter.ts';

/** The dependencies of recording refusals. */
export interface RefusalAuditDeps extends AuditDeps {
  refusals: RefusalRecorder;
}

/** The fields of an event that describe the attempt. */
export type Attempt = Pick<
  AuditEventInput,
  'action' | 'connectionId' | 'connectionName' | 'projectId' | 'apiKeyId' | 'targetName' | 'setupLinkId'
>;

/**
 * Runs an operation and records an audit event if it is refused. A successful operation appends its own event, in the
 * transaction of the change.
 */
export async function withRefusalAudit<T>(
  deps: RefusalAuditDeps,
  caller: Caller,
  attempt: Attempt,
  operation: () => Promise<T>,
): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    // Rate-limited and shed requests are not audited, because they could fill the trail. The log has a line for each.
    const isThrottled =
      error instanceof OverloadedError || (error instanceof AppError && error.code === 'RATE_LIMITED');
    if (error instanceof AppError && !isThrottled)
      await deps.refusals.record({ ...attempt, ...caller.actor, outcome: error.code });
    throw error;
  }
}

/** Runs a read and records an audit event if the caller lacks the permission. */
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
