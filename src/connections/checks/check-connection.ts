import type { VerificationResult } from '../../apps/credentials.ts';
import { type RecordedEvent, serverActor } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { AppError, type ErrorCode } from '../../common/errors.ts';
import { safeErrorFields } from '../../common/log.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { rejectionCodes } from '../check-interval.ts';
import { openCredentials, retryIfReplaced } from '../credentials/seal.ts';
import { verifyWithSession } from '../credentials/sessions.ts';
import { omitUnchanged, verificationColumns } from '../credentials/verify.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { storeVerification } from '../operations/store-verification.ts';
import { budgetedOutbound } from '../rate-budget/budgeted-outbound.ts';
import { nextCheckAfterLimit, nextCheckOfHost, nextRegularCheck } from './check-schedule.ts';

/** The outcome of a check. `ANSWERED`: the app answered. `SKIPPED`: nothing is known, neither of the credentials nor of the host. */
export type CheckOutcome = 'ANSWERED' | 'SKIPPED' | CheckFailure;

/** The host does not answer the check of a connection, or not as the app does. */
export interface CheckFailure {
  connection: AppConnection;
  result: Exclude<VerificationResult, { status: 'VERIFIED' }>;
}

/**
 * Checks whether the credentials of a connection work, and stores the result. Only a change is an audit event. A host that
 * does not answer as the app does says nothing about the credentials: then the failure is returned, and nothing is stored.
 *
 * @param signal aborts when the server stops; then nothing is stored
 */
export async function checkConnection(
  deps: ConnectionDeps,
  orgId: string,
  id: string,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  const connection = await readConnection(deps, orgId, id);
  if (!connection) return 'SKIPPED';
  try {
    return await verifyAndStore(deps, connection, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    // A row that was changed outside this server, or an outbound limit. Trying again at once would fail again.
    const { code, message, retryAt } = error instanceof AppError ? error : unexpectedError;
    await storeDelay(deps, connection, { code, message, retryAt });
    if (!(error instanceof AppError)) {
      deps.log.error(
        { connectionId: id, error: safeErrorFields(error) },
        'a connection could not be checked',
      );
    }
    return 'SKIPPED';
  }
}

/**
 * Stores that a connection does not work although its host answers others. It is checked again after 2 minutes at first, and
 * then less often.
 */
export async function storeOwnFailure(
  deps: ConnectionDeps,
  { connection, result }: CheckFailure,
): Promise<void> {
  const now = currentTime();
  // `UNREACHABLE`, not `REJECTED`: the app has not rejected the credentials, so they can still be used.
  const nextCheckAt = nextCheckOfHost(connection.failingSince ?? now, now);
  await storeResult(deps, connection, { ...result, status: 'UNREACHABLE' }, { now, nextCheckAt });
}

/** Makes a connection due last, so that others that are due are checked first when the host is checked again. */
export function requeue(deps: ConnectionDeps, { connection }: CheckFailure): Promise<void> {
  return postpone(deps, connection, currentTime());
}

function readConnection({ database }: ConnectionDeps, orgId: string, id: string) {
  const where = { id, orgId, deletedAt: null };
  const options = { populate: ['sealedCredentials', 'mac'] } as const;
  return database.forOrganisation(orgId).findOne(AppConnection, where, options);
}

async function verifyAndStore(
  deps: ConnectionDeps,
  connection: AppConnection,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  const { orgId } = connection;
  const { app, method } = resolveAppAndMethod(deps, connection);
  const credentials = await retryIfReplaced(() =>
    openCredentials(deps, deps.database.forOrganisation(orgId), connection),
  );
  const outbound = deps.outbound.onBehalfOf({ orgId, callerId: `${orgId} checks` });
  const budgeted = budgetedOutbound(deps.budgets, connection, { app, method }, credentials, outbound, {
    isCheck: true,
  });
  // Requests through a connection that works use its access token until it ends, and so does a check.
  const mayReuseToken = connection.verificationStatus === 'VERIFIED';
  const options = { signal, connectionId: connection.id, mayReuseToken };
  const result = await verifyWithSession(deps, { app, method, orgId }, credentials, budgeted, options);
  signal.throwIfAborted();
  const now = currentTime();
  if (result.status !== 'VERIFIED' && result.code === 'UPSTREAM_RATE_LIMITED') {
    await storeDelay(deps, connection, result);
    return 'ANSWERED';
  }
  if (result.status !== 'VERIFIED' && !rejectionCodes.includes(result.code)) return { connection, result };
  // Rejected credentials leave the schedule.
  const nextCheckAt = result.status === 'VERIFIED' ? nextRegularCheck(connection, now) : null;
  await storeResult(deps, connection, result, { now, nextCheckAt });
  return 'ANSWERED';
}

async function storeResult(
  deps: ConnectionDeps,
  before: AppConnection,
  result: VerificationResult,
  { now, nextCheckAt }: { now: Date; nextCheckAt: Date | null },
): Promise<void> {
  const { method } = resolveAppAndMethod(deps, before);
  const columns = verificationColumns(method, result, now, before);
  const { id, orgId, name: connectionName, projectId, credentialsHash } = before;
  if (result.status === before.verificationStatus) {
    const em = deps.database.forOrganisation(orgId);
    const changed = { ...omitUnchanged(columns, before), nextCheckAt };
    await em.nativeUpdate(AppConnection, { id, orgId, credentialsHash }, changed);
    return;
  }
  const event: RecordedEvent = {
    ...{ orgId, action: 'CHECK_CONNECTION', connectionId: id, connectionName, projectId },
    ...serverActor,
    outcome: result.status === 'VERIFIED' ? 'OK' : result.code,
    fields: ['verification'],
  };
  await storeVerification(deps, before, result, event, { nextCheckAt });
}

const unexpectedError: { code: ErrorCode; message: string; retryAt?: Date } = {
  code: 'INTERNAL_SERVER_ERROR',
  message: 'The server could not check the connection. The reason is in its log.',
};

/**
 * Postpones a check that is due, and stores since when it is late, and why. It does nothing if the check was not due and only showed
 * whether the host answers, or if the connection has changed meanwhile, because a change begins a new schedule.
 */
async function storeDelay(
  { database }: ConnectionDeps,
  { id, orgId, credentialsHash, nextCheckAt: dueAt, checkDelay: before }: AppConnection,
  { code, message, retryAt }: { code: ErrorCode; message: string; retryAt?: Date | undefined },
): Promise<void> {
  const now = currentTime();
  if (!dueAt || dueAt > now) return;
  const checkDelay = { since: before?.since ?? dueAt.toISOString(), code, message };
  const where = { id, orgId, credentialsHash, nextCheckAt: dueAt };
  const nextCheckAt = nextCheckAfterLimit(retryAt, now);
  await database.forOrganisation(orgId).nativeUpdate(AppConnection, where, { nextCheckAt, checkDelay });
}

async function postpone(
  { database }: ConnectionDeps,
  { id, orgId }: AppConnection,
  nextCheckAt: Date,
): Promise<void> {
  await database.forOrganisation(orgId).nativeUpdate(AppConnection, { id, orgId }, { nextCheckAt });
}
