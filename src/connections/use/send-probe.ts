import { OutboundError } from '../../outbound/outbound-error.ts';
import type { StreamedResponse } from '../../outbound/streamed-response.ts';

/** How long a request goes on after its caller has left. Then a running request has to end in any case. */
const maxMs = 4_000;

/**
 * Sends a request whose response will state an unknown rate limit. If its caller leaves, it goes on until the headers of its
 * response have arrived: otherwise callers that leave early would keep the limit unknown, and others would wait for it.
 *
 * @param caller aborts when the caller leaves; then this rejects at once
 * @param send sends the request, and learns from the response
 * @throws OutboundError `ABORTED`, or what `send` throws
 */
export async function sendProbe<Answer extends { response: StreamedResponse }>(
  caller: AbortSignal | undefined,
  send: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  const ending = new AbortController();
  const answer = send(ending.signal);
  if (!caller) return answer;
  const left = Promise.withResolvers<never>();
  let hasAnswer = false;
  const leave = () => {
    if (hasAnswer) {
      ending.abort();
      return;
    }
    const timer = setTimeout(() => ending.abort(), maxMs).unref();
    const stop = () => clearTimeout(timer);
    answer.then(({ response }) => response.body.destroy(), stop).finally(stop);
    left.reject(new OutboundError('ABORTED', 'the request was aborted'));
  };
  caller.addEventListener('abort', leave, { once: true });
  if (caller.aborted) leave();
  try {
    const answered = await Promise.race([answer, left.promise]);
    hasAnswer = true;
    answered.response.body.onClose(() => caller.removeEventListener('abort', leave));
    return answered;
  } catch (error) {
    caller.removeEventListener('abort', leave);
    throw error;
  }
}
