import type { App } from '../../apps/app.ts';
import { AppError } from '../../common/errors.ts';
import { type BudgetRefusalReason, budgetRefusalMeasurements } from '../../common/measurements.ts';
import type { Pause } from './permit.ts';

/** The error when a rate budget refuses a request, which was not sent. */
class BudgetRefusal extends AppError {
  readonly reason: BudgetRefusalReason;

  constructor(reason: BudgetRefusalReason, message: string, details: { retryAt: Date; remedy: string }) {
    super('UPSTREAM_RATE_LIMITED', message, details);
    this.reason = reason;
  }
}

/** Takes a permit, and publishes a measurement if it is refused. */
export async function measuringRefusals<Permit>(take: () => Promise<Permit>): Promise<Permit> {
  try {
    return await take();
  } catch (error) {
    if (error instanceof BudgetRefusal) budgetRefusalMeasurements.publish({ reason: error.reason });
    throw error;
  }
}

const waitOrRepeat =
  'Send the request again at `retryAt`, or let it wait with `Prefer: wait=30` (in GraphQL `preferWaitSeconds: 30`).';

/** The error of a request that a pause refuses. */
export function pauseError(
  app: App,
  bucket: string,
  { isBlocked, limit, retryAt }: Omit<Pause, 'isProvisional'>,
  share: number,
): BudgetRefusal {
  if (isBlocked) return blockedError(app, bucket, retryAt);
  if (limit === null) return unknownLimitError(app, bucket, retryAt);
  return spentError(app, bucket, retryAt, { limit, share });
}

/** The error while an app refuses requests. */
function blockedError({ name }: App, bucket: string, until: number): BudgetRefusal {
  return new BudgetRefusal(
    'blocked',
    `${name} has refused requests of this connection because of its rate limit (${bucket}). Nothing was sent.`,
    { retryAt: new Date(until), remedy: waitOrRepeat },
  );
}

/** The error when the share of a rate limit is spent. */
function spentError(
  { name }: App,
  bucket: string,
  until: number,
  { limit, share }: { limit: number; share: number },
): BudgetRefusal {
  return new BudgetRefusal(
    'spent',
    `The rate limit of ${name} for ${bucket} is ${limit} requests. The share of this connection, ${share} %, which all of its callers spend together, is used up, or programs outside of this server have used the limit up. Nothing was sent.`,
    {
      retryAt: new Date(until),
      remedy: `${waitOrRepeat} A caller with connections:write can raise \`maxShareOfRateLimit\` of the connection.`,
    },
  );
}

/** The error when an app has not answered the first requests, with which its limit would be learnt. */
function unknownLimitError({ name }: App, bucket: string, until: number): BudgetRefusal {
  return new BudgetRefusal(
    'unknown_limit',
    `The rate limit of ${name} for ${bucket} is not known yet, because ${name} has not answered the first requests. Nothing was sent.`,
    { retryAt: new Date(until), remedy: waitOrRepeat },
  );
}

/** The error when too many requests wait. */
export function noRoomError({ name }: App, retryAt: Date): BudgetRefusal {
  return new BudgetRefusal(
    'queue_full',
    `Too many requests wait for the rate limit of ${name}. Nothing was sent.`,
    { retryAt, remedy: 'Send fewer requests at a time.' },
  );
}
