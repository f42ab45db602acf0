import type { Outbound } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { Credentials, RevocationResult } from '../credentials.ts';
import { readErrorCode } from './parse-response.ts';
import { diagnoseFailure } from './verify.ts';

/**
 * Revokes an API token, which only the token itself can ask for. One that is invalid already counts as revoked.
 *
 * @throws OutboundError if `signal` aborts
 */
export async function revokeApiToken(
  { public: { instanceUrl }, secret: { apiToken } }: Credentials,
  outbound: Outbound,
  signal?: AbortSignal,
): Promise<RevocationResult> {
  if (instanceUrl === undefined || apiToken === undefined)
    throw new Error('Okta credentials were not checked');
  try {
    const { status, body } = await outbound.delete(new URL('/api/v1/api-tokens/current', instanceUrl), {
      headers: { accept: 'application/json', authorization: `SSWS ${apiToken.reveal()}` },
      signal,
    });
    if (status === 204 || (status === 401 && readErrorCode(body) === 'E0000011')) return { isRevoked: true };
    if (status === 429) return { isRevoked: false, code: 'UPSTREAM_RATE_LIMITED' };
    return { isRevoked: false, code: status === 403 ? 'INSUFFICIENT_PERMISSIONS' : 'UPSTREAM_UNREACHABLE' };
  } catch (error) {
    if (!(error instanceof OutboundError) || signal?.aborted) throw error;
    return { isRevoked: false, code: diagnoseFailure(error).code };
  }
}
