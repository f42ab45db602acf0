import { timed } from '../common/log.ts';
import { upstreamMeasurements } from '../common/measurements.ts';
import { OutboundError } from './outbound-error.ts';

/** Sends a request, and measures the time until its response, or the headers of one that is streamed. */
export async function measured<Response extends { status: number }>(
  send: () => Promise<Response>,
): Promise<Response> {
  if (!upstreamMeasurements.hasSubscribers) return timed('upstream', send);
  const startedAt = performance.now();
  const publish = (outcome: string) =>
    upstreamMeasurements.publish({ outcome, ms: performance.now() - startedAt });
  try {
    const response = await timed('upstream', send);
    publish(`${Math.floor(response.status / 100)}xx`);
    return response;
  } catch (error) {
    publish(error instanceof OutboundError ? error.reason : 'UNKNOWN');
    throw error;
  }
}
