import type { EntityManager } from '@mikro-orm/postgresql';
import type { InsertedRow } from '../../audit/audited-change.ts';
import { hasTrailSql } from '../../audit/trail-head.ts';
import { currentTime, currentTimeMs } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { deleteInBatches } from '../../database/delete-in-batches.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { IdempotentRequest } from '../idempotency.entity.ts';
import { connectionNotFound } from './find-connection.ts';

const retentionMs = 86_400_000;

/** A request and its idempotency key. */
export interface IdempotencyOptions {
  /** Absent or null: the request is not repeatable. */
  idempotencyKey?: string | null | undefined;
  /** The operation and its input. The same key with another one is a conflict. */
  request: object;
}

/**
 * Builds the rows that store the outcome together with the change: none if the request has no idempotency key; then `outcome`
 * is not called. A change that finds nothing to change stores no outcome, and runs again when it is repeated.
 */
export type BuildOutcome = (outcome: () => object) => readonly InsertedRow[];

/**
 * Runs an operation once for each idempotency key. A repeated request returns the stored outcome of the first. Only
 * successful requests are stored: a refused one has changed nothing and can be sent again.
 *
 * @param operation runs the request and stores its outcome together with the change
 * @param restore converts a stored outcome to a result
 * @throws AppError `IDEMPOTENCY_CONFLICT` if the key was used for another request; `NOT_FOUND` if the caller may no longer
 *   see the connection of the stored outcome
 */
export async function runIdempotent<T>(
  { database, vault }: ConnectionDeps,
  caller: Caller,
  { idempotencyKey: key, request }: IdempotencyOptions,
  operation: (buildOutcome: BuildOutcome) => Promise<T>,
  restore: (outcome: Record<string, unknown>) => T,
): Promise<T> {
  if (key == null) return operation(() => []);
  const { orgId } = caller;
  const getFingerprint = (value: object) =>
    vault.mac(database.forOrganisation(orgId), orgId, 'FINGERPRINT', value);
  // The key is stored as a MAC, because clients sometimes send a token in its place by mistake.
  const primaryKey = { orgId, caller: caller.id, key: await getFingerprint({ idempotencyKey: key }) };
  const fingerprint = await getFingerprint(request);
  const macs = await vault.rowMacs(database.forOrganisation(orgId));

  const find = async (): Promise<{ result: T } | undefined> => {
    const em = database.forOrganisation(orgId);
    const stored = await em.findOne(IdempotentRequest, primaryKey);
    if (!stored) return undefined;
    if (stored.createdAt <= retentionStart()) {
      await em.nativeDelete(IdempotentRequest, { ...primaryKey, createdAt: { $lte: retentionStart() } });
      return undefined;
    }
    macs.verify(em, IdempotentRequest, stored);
    if (stored.fingerprint !== fingerprint) throw keyReusedError();
    await assertStillVisible(em, caller, stored.outcome);
    return { result: restore(stored.outcome) };
  };
  const first = await find();
  if (first) return first.result;
  let isSaved = false;
  try {
    const result = await operation((outcome) => {
      isSaved = true;
      const row = {
        ...primaryKey,
        fingerprint,
        outcome: JSON.parse(JSON.stringify(outcome())),
        createdAt: currentTime(),
      };
      return [[IdempotentRequest, macs.signed(database.forOrganisation(orgId), IdempotentRequest, row)]];
    });
    // Nothing was left to change if a concurrent request with this key was first.
    return isSaved ? result : ((await find())?.result ?? result);
  } catch (error) {
    // A concurrent request with this key may have been first: then this one can fail with any error, such as NAME_TAKEN.
    const concurrent = await find();
    if (concurrent) return concurrent.result;
    throw error;
  }
}

/** Checks the project again: the projects of the caller and of the connection can have changed since the request ran. */
async function assertStillVisible(
  em: EntityManager,
  caller: Caller,
  outcome: Record<string, unknown>,
): Promise<void> {
  if (!caller.projectIds) return;
  const { orgId } = caller;
  const id = String(outcome.id);
  const connection = await em.findOne(AppConnection, { id, orgId }, { fields: ['projectId'] });
  const projectId = connection ? connection.projectId : outcome.projectId;
  const isVisible = caller.maySeeConnection({
    id,
    projectId: typeof projectId === 'string' ? projectId : null,
  });
  if (!isVisible) throw connectionNotFound();
}

/**
 * Deletes outcomes that are older than a day, in batches.
 *
 * @returns the number of deleted rows
 */
export async function purgeIdempotentRequests(
  { database }: Pick<ConnectionDeps, 'database'>,
  signal?: AbortSignal,
): Promise<number> {
  const condition = `created_at <= ? and ${hasTrailSql('idempotent_request.org_id')}`;
  const expired = { table: 'idempotent_request', condition, orderBy: 'created_at' };
  return deleteInBatches(database, { ...expired, params: [retentionStart()] }, signal);
}

function retentionStart(): Date {
  return new Date(currentTimeMs() - retentionMs);
}

function keyReusedError(): AppError {
  const message = 'The idempotency key was used for a different request.';
  return new AppError('IDEMPOTENCY_CONFLICT', message, {
    issues: [{ path: ['idempotencyKey'], message }],
    remedy: 'Use a new key for each new request, and repeat a request exactly as it was.',
  });
}
