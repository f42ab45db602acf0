import { AppError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { StreamedResponse } from '../../outbound/streamed-response.ts';
import type { UsageCall, UsageCounter } from '../usage/usage-counter.ts';
import type { PermissionWatch } from './permission-watch.ts';
import type { UseRequest } from './use-request.ts';

/** The part of a response that is counted. */
type CountedResponse = Pick<StreamedResponse, 'status' | 'body' | 'transferred'> & {
  watch: Pick<PermissionWatch, 'assertNotEnded'>;
};

/**
 * Sends a request through a connection and counts it when its response has ended, or when it has failed.
 *
 * @param target the connection as the caller sent it; it is only counted if the organisation of the caller has it
 * @param request its signal aborts when the client disconnects
 * @param send throws AppError if there is no response
 */
export async function withUsageCount<Response extends CountedResponse>(
  usage: UsageCounter,
  { orgId, id: caller }: Caller,
  { id: connectionId }: { id: string },
  { signal, label = '' }: Pick<UseRequest, 'signal' | 'label'>,
  send: () => Promise<Response>,
): Promise<Response> {
  const startedAt = performance.now();
  const count = (outcome: UsageCall['outcome'], response?: CountedResponse) =>
    usage.count({
      ...{ orgId, connectionId, caller, label, outcome },
      status: response?.status,
      durationMs: performance.now() - startedAt,
      bytesUp: response?.transferred.sent ?? 0,
      bytesDown: response?.transferred.received ?? 0,
    });
  let response: Response;
  try {
    response = await send();
  } catch (error) {
    count(signal?.aborted ? 'CLIENT_DISCONNECTED' : toOutcome(error));
    throw error;
  }
  response.body.onClose(() => count(toOutcomeOfBody(response, signal), response));
  return response;
}

function toOutcome(error: unknown): UsageCall['outcome'] {
  return error instanceof AppError ? error.code : 'INTERNAL_SERVER_ERROR';
}

function toOutcomeOfBody(
  { body: { failure }, watch }: CountedResponse,
  signal: AbortSignal | undefined,
): UsageCall['outcome'] {
  // A reader that needs only the beginning destroys the body without an error.
  if (!failure) return 'OK';
  try {
    watch.assertNotEnded();
  } catch (error) {
    return toOutcome(error);
  }
  const isOfOutbound = failure instanceof OutboundError && failure.reason !== 'UNREAD';
  return isOfOutbound && !signal?.aborted ? 'UPSTREAM_UNREACHABLE' : 'CLIENT_DISCONNECTED';
}
