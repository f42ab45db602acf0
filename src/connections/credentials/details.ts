import type { AuthMethod } from '../../apps/app.ts';
import type {
  Credentials,
  VerificationDetails,
  VerificationResult,
  VerificationWarning,
} from '../../apps/credentials.ts';
import type { Outbound, OutboundRequest } from '../../outbound/outbound.ts';

/** How long a verification takes at most, details included, if the app has accepted the credentials in time. */
const maxVerificationMs = 10_000;
/** How long details may delay a verification. */
const maxDelayMs = 3_000;
/** The most requests for the details of one verification. */
const maxRequests = 6;

/**
 * Finds out more about credentials that the app has accepted. Whatever goes wrong, the credentials stay accepted.
 *
 * @param options `elapsedMs`: how long the verification has taken so far
 * @returns null if nothing can be found out, or if the app sends parts of the credentials back
 */
export async function findDetails(
  method: AuthMethod,
  credentials: Credentials,
  result: VerificationResult,
  {
    outbound,
    signal,
    elapsedMs,
  }: { outbound: Outbound; signal?: AbortSignal | undefined; elapsedMs: number },
): Promise<VerificationDetails | null> {
  if (result.status !== 'VERIFIED' || !result.findDetails || !method.details) return null;
  const delayMs = Math.floor(Math.min(maxDelayMs, maxVerificationMs - elapsedMs));
  if (delayMs <= 0) return null;
  const timeout = AbortSignal.timeout(delayMs);
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
  try {
    const { warnings, ...found } = await result.findDetails(optionalOutbound(outbound, either), either);
    const details = { ...method.details.schema.parse(found), warnings: warnings.map(toWarning) };
    const isEchoed = Object.values(credentials.secret).some((secret) =>
      secret.isEchoedIn(listTexts(details)),
    );
    return isEchoed ? null : details;
  } catch {
    return null;
  }
}

/** The client for details: its requests are few, and end with the signal. */
function optionalOutbound(outbound: Outbound, signal: AbortSignal): Outbound {
  let requests = 0;
  const prepare = <Request extends OutboundRequest>(request: Request): Request => {
    requests += 1;
    if (requests > maxRequests) throw new Error('The details take too many requests.');
    return { ...request, isOptional: true, signal };
  };
  return {
    ...outbound,
    get: async (url, request) => outbound.get(url, prepare(request)),
    post: async (url, request) => outbound.post(url, prepare(request)),
  };
}

function toWarning({ message, remedy }: VerificationWarning): VerificationWarning {
  return { message, remedy };
}

/** Returns the texts in JSON. */
function listTexts(json: unknown): string[] {
  if (typeof json === 'string') return [json];
  return typeof json === 'object' && json !== null ? Object.values(json).flatMap(listTexts) : [];
}
