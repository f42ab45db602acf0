import type { EntityManager } from '@mikro-orm/postgresql';
import { AppError } from '../../common/errors.ts';
import { deleteInBatches } from '../../database/delete-in-batches.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionDeps } from '../deps.ts';
import { IdempotentRequest } from '../idempotency.entity.ts';
import { connectionNotFound } from './find-connection.ts';

const keptMs = 86_400_000;

/** A request by the name that its caller gave it. */
export interface IdempotencyOptions {
  /** Absent or null: every request is a new one. */
  idempotencyKey?: string | null | undefined;
  /** All that was asked: with another input under the same key, it is another request. */
  request: object;
}

/**
 * Keeps the outcome, in the transaction of the change; it is not asked for where nobody gave the request a name. A change
 * that changed nothing does not call it, and is carried out when it is repeated.
 */
export type SaveOutcome = (em: EntityManager, outcome: () => object) => Promise<void>;

/**
 * Does something once: if it was done under this key before, its outcome is given again. Only what succeeded counts
 * as done; what was refused changed nothing and may be tried again.
 *
 * @param work does it, and keeps the outcome in the transaction of the change
 * @param recall makes the result out of the kept outcome
 * @throws AppError `IDEMPOTENCY_CONFLICT` when something else was done under this key; `NOT_FOUND` when it was done to a
 *   connection that the caller may not see any more
 */
export async function runIdempotent<T>(
  { database, vault }: ConnectionDeps,
  caller: Caller,
  { idempotencyKey: key, request }: IdempotencyOptions,
  work: (keep: SaveOutcome) => Promise<T>,
  recall: (outcome: Record<string, unknown>) => T,
): Promise<T> {
  if (key == null) return work(async () => {});
  const { orgId } = caller;
  const fingerprintOf = (value: object) =>
    vault.mac(database.forOrganisation(orgId), orgId, 'FINGERPRINT', value);
  // Whoever has put a token where the key belongs finds it nowhere, as everywhere else.
  const name = { orgId, caller: caller.id, key: await fingerprintOf({ idempotencyKey: key }) };
  const fingerprint = await fingerprintOf(request);
  const macs = await vault.rowMacs(database.forOrganisation(orgId));

  const find = async (): Promise<{ result: T } | undefined> => {
    const done = await database
      .forOrganisation(orgId)
      .findOne(IdempotentRequest, { ...name, createdAt: { $gt: retentionStart() } });
    if (!done) return undefined;
    macs.verify(database.forOrganisation(orgId), IdempotentRequest, done);
    if (done.fingerprint !== fingerprint) throw keyReusedError();
    await assertStillVisible(database.forOrganisation(orgId), caller, done.outcome);
    return { result: recall(done.outcome) };
  };
  const before = await find();
  if (before) return before.result;
  let isKept = false;
  try {
    const result = await work(async (em, outcome) => {
      isKept = true;
      await em.nativeDelete(IdempotentRequest, { ...name, createdAt: { $lte: retentionStart() } });
      const kept = {
        ...name,
        fingerprint,
        outcome: JSON.parse(JSON.stringify(outcome())),
        createdAt: new Date(),
      };
      await em.insert(IdempotentRequest, macs.signed(em, IdempotentRequest, kept));
    });
    // Nothing was left to change where the same request at the same moment was first.
    return isKept ? result : ((await find())?.result ?? result);
  } catch (error) {
    // The same request at the same moment may have been first, and then this one fails for all manner of reasons.
    const meanwhile = await find();
    if (meanwhile) return meanwhile.result;
    throw error;
  }
}

/** The projects of a caller may be others than when the request was carried out, and so may that of the connection. */
async function assertStillVisible(
  em: EntityManager,
  { orgId, projectIds }: Caller,
  { id, projectId }: Record<string, unknown>,
): Promise<void> {
  if (!projectIds) return;
  const connection = await em.findOne(AppConnection, { id: String(id), orgId }, { fields: ['projectId'] });
  const place = connection ? connection.projectId : projectId;
  if (typeof place !== 'string' || !projectIds.has(place)) throw connectionNotFound();
}

/**
 * Deletes what is older than a day, in batches.
 *
 * @returns how many rows it has deleted
 */
export async function purgeIdempotentRequests(
  { database }: Pick<ConnectionDeps, 'database'>,
  signal?: AbortSignal,
): Promise<number> {
  const expired = { table: 'idempotent_request', condition: 'created_at <= ?', params: [retentionStart()] };
  return deleteInBatches(database, expired, signal);
}

function retentionStart(): Date {
  return new Date(Date.now() - keptMs);
}

function keyReusedError(): AppError {
  const message = 'The idempotency key was used for a different request.';
  return new AppError('IDEMPOTENCY_CONFLICT', message, {
    issues: [{ path: ['idempotencyKey'], message }],
    remedy: 'Use a new key for each new request, and repeat a request exactly as it was.',
  });
}
