import { currentTimeMs } from '../../common/clock.ts';
import type { Caller } from '../../identity/caller.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { StreamedResponse } from '../../outbound/streamed-response.ts';
import type { ConnectionDeps } from '../deps.ts';
import { getMaxShare } from '../rate-budget/max-share.ts';
import type { OpenedConnection } from './opened-connections.ts';

/** The longest that a caller can wait for a rate budget: a window of a minute, and what is added to its end. */
export const maxWaitSeconds = 65;

/** A request that may have to wait. */
export interface BudgetedRequest {
  /** Normalised. */
  path: string;
  /** Whether it has no effect, and no body that could be read only once. */
  isRepeatable: boolean;
  /** How long the caller waits for the rate limit, in seconds. */
  waitSeconds?: number | undefined;
  /** Each of these ends the wait. */
  signals: readonly (AbortSignal | undefined)[];
}

/**
 * Sends a request within the rate budget of its connection. A repeatable request is sent once more if the connection breaks
 * before a response, or if the app refuses it because of its rate limit and the caller waits for long enough.
 *
 * @throws AppError `UPSTREAM_RATE_LIMITED` if the budget is spent beyond the wait of the caller
 * @throws OutboundError as `send` does, or `ABORTED`
 */
export async function sendWithinBudget(
  { budgets }: Pick<ConnectionDeps, 'budgets'>,
  caller: Caller,
  { app, use, connection }: OpenedConnection,
  { path, isRepeatable, waitSeconds = 0, signals }: BudgetedRequest,
  send: () => Promise<StreamedResponse>,
): Promise<StreamedResponse> {
  const budget = budgets.find(app, use, connection, path);
  const deadline = currentTimeMs() + waitSeconds * 1_000;
  const request = { callerId: caller.id, share: getMaxShare(connection), deadline, signals };
  const attempt = async (): Promise<{ response: StreamedResponse; retryAt?: number | undefined }> => {
    const permit = await budget?.take(request);
    const sentAt = currentTimeMs();
    const response = await send();
    return { response, retryAt: permit && (await budget?.observe(permit, response, sentAt)) };
  };
  const sendAgain = async () => (await attempt()).response;
  try {
    const { response, retryAt } = await attempt();
    if (retryAt === undefined || retryAt > deadline || !isRepeatable) return response;
    response.body.destroy();
  } catch (error) {
    const isBroken = error instanceof OutboundError && error.reason === 'RESET';
    if (!isBroken || !isRepeatable || signals.some((signal) => signal?.aborted)) throw error;
  }
  return sendAgain();
}
