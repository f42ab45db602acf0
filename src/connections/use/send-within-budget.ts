import { currentTimeMs } from '../../common/clock.ts';
import type { Caller } from '../../identity/caller.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { StreamedResponse } from '../../outbound/streamed-response.ts';
import type { ConnectionDeps } from '../deps.ts';
import { getMaxShare } from '../rate-budget/max-share.ts';
import type { OpenedConnection } from './opened-connections.ts';
import { sendProbe } from './send-probe.ts';

/** The longest that a caller can wait for a rate budget: a window of a minute, and what is added to its end. */
export const maxWaitSeconds = 65;

/** A token can have ended, and then the app can ask for another nonce in the proof of its possession. */
const maxAuthorizations = 3;

/** A request that may have to wait. */
export interface BudgetedRequest {
  /** Normalised. */
  path: string;
  /** Whether it has no effect, and no body that could be read only once. */
  isRepeatable: boolean;
  /** Whether the app refused the authorization of the request alone, so that it is sent again with a new one. */
  isUnauthorized(response: StreamedResponse): boolean;
  /** How long the caller waits for the rate limit, in seconds. */
  waitSeconds?: number | undefined;
  /** Aborts when the caller leaves. */
  caller: AbortSignal | undefined;
  /** Aborts when the request is no longer allowed. */
  permission: AbortSignal;
}

/** What ends an attempt, and what it reports. */
export interface AttemptOptions {
  signals: readonly (AbortSignal | undefined)[];
  /** Called when the request is about to be written to a connection. */
  onSend(): void;
}

/**
 * Sends a request within the rate budget of its connection. A repeatable request is sent once more if the connection breaks
 * before a response, or if the app refuses it because of its rate limit and the caller waits for long enough. Any request is
 * sent again with a new authorization if that can help.
 *
 * @throws AppError `UPSTREAM_RATE_LIMITED` if the budget is spent beyond the wait of the caller
 * @throws OutboundError as `send` does, or `ABORTED`
 */
export async function sendWithinBudget(
  { budgets }: Pick<ConnectionDeps, 'budgets'>,
  caller: Caller,
  { app, use, connection }: OpenedConnection,
  { path, isRepeatable, isUnauthorized, waitSeconds = 0, caller: leaving, permission }: BudgetedRequest,
  send: (options: AttemptOptions) => Promise<StreamedResponse>,
): Promise<StreamedResponse> {
  const budget = budgets.find(app, use, connection, path);
  const deadline = currentTimeMs() + waitSeconds * 1_000;
  const signals = [leaving, permission];
  const request = { callerId: caller.id, share: getMaxShare(connection), deadline, signals };
  const attempt = async () => {
    const permit = await budget?.take(request);
    const sendWith = async (signal: AbortSignal | undefined) => {
      const sentAt = currentTimeMs();
      let isSent = false;
      const onSend = () => {
        isSent = true;
      };
      try {
        const response = await send({ signals: [signal, permission], onSend });
        const retryAt = permit && (await budget?.observe(permit, response, sentAt));
        return { response, retryAt, isRefused: isUnauthorized(response) };
      } catch (error) {
        if (permit && !isSent) budget?.giveBack(permit);
        throw error;
      }
    };
    return permit?.isProbe && isRepeatable ? sendProbe(leaving, sendWith) : sendWith(leaving);
  };
  let mayRepeat = isRepeatable;
  let authorizations = 0;
  while (true) {
    try {
      const { response, retryAt, isRefused } = await attempt();
      authorizations += 1;
      if (!isRefused || authorizations === maxAuthorizations) {
        if (!mayRepeat || retryAt === undefined || retryAt > deadline) return response;
        mayRepeat = false;
      }
      response.body.destroy();
    } catch (error) {
      const isBroken = error instanceof OutboundError && error.reason === 'RESET';
      if (!isBroken || !mayRepeat || signals.some((signal) => signal?.aborted)) throw error;
      mayRepeat = false;
    }
  }
}
