import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials, VerificationResult } from '../../apps/credentials.ts';
import { currentTime } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { type ConnectionDeps, rateLimitedOutbound } from '../deps.ts';
import type { CreateConnection } from '../input-schemas.ts';
import { type BudgetedConnection, budgetedOutbound } from '../rate-budget/budgeted-outbound.ts';
import { findDetails } from './details.ts';
import { type ExpiryColumns, expiryAfterVerification } from './expiry.ts';
import { findUrlField } from './host.ts';
import { type SessionOptions, verifyWithSession } from './sessions.ts';

/** How to verify credentials. */
export interface VerificationOptions extends SessionOptions {
  /** The connection that has the credentials, or gets them. The verification counts in its rate budget. Absent if there is none. */
  connection?: BudgetedConnection;
}

/**
 * Verifies credentials with the app. The outbound rate limit of the caller applies.
 *
 * @throws AppError `RATE_LIMITED`, or `UPSTREAM_UNREACHABLE` if the client disconnects; only the audit trail shows that
 */
export async function verifyCredentials(
  deps: ConnectionDeps,
  caller: Caller,
  { app, method }: { app: App; method: AuthMethod },
  credentials: Credentials,
  { connection, ...options }: VerificationOptions,
): Promise<VerificationResult> {
  const { signal } = options;
  const unbudgeted = await rateLimitedOutbound(deps, caller);
  const outbound = connection
    ? budgetedOutbound(deps.budgets, connection, { app, method }, credentials, unbudgeted)
    : unbudgeted;
  const startedAt = performance.now();
  const target = { app, method, orgId: caller.orgId };
  const sessionOptions = { connectionId: connection?.id, ...options, wantsDetails: true };
  const result = await verifyWithSession(deps, target, credentials, outbound, sessionOptions).catch(
    (error: unknown) => {
      throw signal?.aborted ? clientDisconnectedError(app) : error;
    },
  );
  const elapsedMs = performance.now() - startedAt;
  const details = await findDetails(method, credentials, result, { outbound, signal, elapsedMs });
  if (signal?.aborted) throw clientDisconnectedError(app);
  return result.status === 'VERIFIED' ? { ...result, details } : result;
}

/**
 * Verifies credentials before they are stored.
 *
 * @param options `onUnreachable`: whether credentials that could not be verified may be stored; `FAIL` if absent
 * @returns the columns with the result
 * @throws AppError `RATE_LIMITED`, `UPSTREAM_UNREACHABLE`, or the error with which the app rejects the credentials
 */
export async function verifyNewCredentials(
  deps: ConnectionDeps,
  caller: Caller,
  target: { app: App; method: AuthMethod },
  credentials: Credentials,
  options: VerificationOptions & { onUnreachable?: CreateConnection['onUnreachable'] },
): Promise<VerificationColumns> {
  const result = await verifyCredentials(deps, caller, target, credentials, options);
  const isStoredUnverified = result.status === 'UNREACHABLE' && options.onUnreachable === 'SAVE_UNVERIFIED';
  if (result.status !== 'VERIFIED' && !isStoredUnverified) throw rejectedError(result, target.method);
  return verificationColumns(target.method, result, currentTime());
}

/** The columns of a connection that hold the result of a verification. */
export type VerificationColumns = Pick<
  AppConnection,
  | 'verificationStatus'
  | 'verificationCheckedAt'
  | 'verificationCode'
  | 'verificationMessage'
  | 'verificationRemedy'
  | 'upstreamRequestId'
  | 'lastVerifiedAt'
  | 'failingSince'
  | 'account'
  | 'verificationDetails'
  | 'nextCheckAt'
  | 'checkDelay'
> &
  ExpiryColumns;

/**
 * Converts the result of a verification to the columns of a connection. Details that were not asked for stay as they were.
 *
 * @param before the columns of the same credentials until now; absent for new credentials
 */
export function verificationColumns(
  method: AuthMethod,
  result: VerificationResult,
  checkedAt: Date,
  before?: Pick<AppConnection, 'lastVerifiedAt' | 'failingSince' | 'account' | 'verificationDetails'> &
    ExpiryColumns,
): VerificationColumns {
  const isVerified = result.status === 'VERIFIED';
  const failure = isVerified ? null : result;
  const account = (isVerified ? result.account : before?.account) ?? null;
  const found = isVerified ? result.details : undefined;
  const details = (found === undefined ? before?.verificationDetails : found) ?? null;
  return {
    verificationStatus: result.status,
    verificationCheckedAt: checkedAt,
    verificationCode: failure?.code ?? null,
    verificationMessage: failure?.message ?? null,
    verificationRemedy: failure?.remedy ?? null,
    upstreamRequestId: result.upstreamRequestId,
    lastVerifiedAt: isVerified ? checkedAt : (before?.lastVerifiedAt ?? null),
    failingSince: isVerified ? null : (before?.failingSince ?? checkedAt),
    account,
    verificationDetails: details,
    ...expiryAfterVerification(method, result, { usedAt: checkedAt, account, details }, before),
    // The schedule of checks begins again.
    nextCheckAt: null,
    checkDelay: null,
  };
}

/** The columns that another job may change during a verification. A verification writes them only if it changes them. */
const concurrentColumns = [
  'account',
  'verificationDetails',
  'expiresAt',
  'expiryReason',
  'expiryWarningAt',
] as const satisfies (keyof VerificationColumns)[];

/**
 * Omits the columns that another job may have changed and this verification has not, so that storing it undoes neither a warning nor
 * another verification.
 */
export function omitUnchanged<Columns extends VerificationColumns>(
  columns: Columns,
  before: VerificationColumns,
): Partial<Columns> {
  const changed: Partial<Columns> = { ...columns };
  for (const name of concurrentColumns) if (columns[name] === (before[name] ?? null)) delete changed[name];
  return changed;
}

/**
 * Names `failingSince` as a changed field if a change has cleared it because the connection works again. A connection that becomes
 * `PENDING` has it cleared too, and does not work yet.
 */
export function clearedFailure(
  before: Pick<AppConnection, 'failingSince'>,
  after: Pick<AppConnection, 'failingSince' | 'verificationStatus'>,
): 'failingSince'[] {
  const hasRecovered = before.failingSince && !after.failingSince && after.verificationStatus !== 'PENDING';
  return hasRecovered ? ['failingSince'] : [];
}

function clientDisconnectedError({ name }: App): AppError {
  return new AppError('UPSTREAM_UNREACHABLE', `The client disconnected before ${name} answered.`, {
    remedy: 'Send the request again; nothing was changed.',
  });
}

/** `HOST_NOT_ALLOWED` names the field with the URL; every other result is about the credentials as a whole. */
function rejectedError(
  { code, message, remedy, retryAt }: Exclude<VerificationResult, { status: 'VERIFIED' }>,
  method: AuthMethod,
): AppError {
  const field = code === 'HOST_NOT_ALLOWED' && findUrlField(method);
  return new AppError(code, message, {
    remedy,
    ...(field && { issues: [{ path: ['credentials', field], message }] }),
    ...(retryAt && { retryAt }),
  });
}
