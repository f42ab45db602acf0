import { currentTime, currentTimeMs } from '../../common/clock.ts';
import type { Secret } from '../../common/secret.ts';
import type { OutboundResponse } from '../../outbound/buffered-response.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import { readRetryAfter } from '../../outbound/response-times.ts';
import type { Credentials, VerificationResult } from '../credentials.ts';
import { hostNotAllowedError, ownOutboundError } from '../map-outbound-error.ts';
import { startTimeLimit } from '../time-limit.ts';
import { findApiTokenDetails } from './api-token-details.ts';
import { measureClockDifference } from './clock-difference.ts';
import * as diagnosis from './diagnosis.ts';
import { fetchOrganisationId } from './organisation-metadata.ts';
import { readErrorCode, readRequestId, readTokenOwner, type TokenOwner } from './parse-response.ts';
import { readRateLimitReset } from './rate-limit-reset.ts';

const extraAuthorities =
  'If a certificate authority of your organisation signed it, the operator of this server has to set ' +
  'NODE_EXTRA_CA_CERTS to a file with the certificate of that authority, and restart the server.';

/** How long a verification takes at most. */
const maxVerificationMs = 10_000;

/**
 * Asks the host whether it is an Okta organisation, without the token, then for the token's owner, and interprets the
 * responses.
 *
 * Only a response that is recognisably Okta's can reject the token. Everything else is an outage or a wrong address.
 *
 * @throws OutboundError if `signal` aborts, so that no result is stored
 * @throws AppError if this server could not send the request
 */
export async function verifyApiToken(
  credentials: Credentials,
  outbound: Outbound,
  signal?: AbortSignal,
): Promise<VerificationResult> {
  const { instanceUrl } = credentials.public;
  const { apiToken } = credentials.secret;
  if (instanceUrl === undefined || apiToken === undefined)
    throw new Error('Okta credentials were not checked');
  const timeLeft = startTimeLimit(maxVerificationMs);
  try {
    const organisationId = await fetchOrganisationId(instanceUrl, outbound, {
      signal,
      timeoutMs: timeLeft(),
    });
    if (typeof organisationId !== 'string') return { ...organisationId, upstreamRequestId: null };
    const sentAt = currentTimeMs();
    const answer = await outbound.get(new URL('/api/v1/users/me', instanceUrl), {
      headers: { accept: 'application/json', authorization: `SSWS ${apiToken.reveal()}` },
      signal,
      timeoutMs: timeLeft(),
    });
    const clock = measureClockDifference(answer.headers, { sentAt, receivedAt: currentTimeMs() });
    const upstreamRequestId = readRequestId(answer.headers, apiToken);
    const owner = diagnose(answer, apiToken);
    if ('code' in owner) return { ...owner, upstreamRequestId };
    return {
      status: 'VERIFIED',
      account: owner,
      upstreamRequestId,
      findDetails: (optional) =>
        findApiTokenDetails({ instanceUrl, apiToken, owner, organisationId, clock }, optional),
    };
  } catch (error) {
    if (!(error instanceof OutboundError) || signal?.aborted) throw error;
    const own = ownOutboundError(error, 'Okta');
    if (own) throw own;
    return { ...diagnoseFailure(error), upstreamRequestId: null };
  }
}

function diagnose(
  { status, headers, body }: OutboundResponse,
  token: Secret,
): TokenOwner | diagnosis.Finding {
  if (status === 429) return diagnosis.rateLimited(readRateLimitReset(headers, currentTime()));
  if (status >= 500) return diagnosis.serverError(status, readRetryAfter(headers, currentTime()));
  if (status >= 300 && status < 400) {
    return diagnosis.notOkta(`it redirects (status ${status}), and the token is not sent to other addresses`);
  }
  const errorCode = readErrorCode(body);
  if (errorCode && (status === 401 || status === 403)) return diagnosis.refused(status, errorCode);
  if (status !== 200) return diagnosis.notOkta(`it returned status ${status} without an error of Okta’s`);
  const owner = readTokenOwner(body, token);
  return 'problem' in owner ? diagnosis.notOkta(owner.problem) : owner;
}

/** Interprets a request to Okta that got no response. */
export function diagnoseFailure(error: OutboundError, subject?: string): diagnosis.Finding {
  const refusal = hostNotAllowedError(error);
  if (refusal) return { status: 'REJECTED', ...refusal };
  switch (error.reason) {
    case 'TOO_LARGE':
    case 'PROTOCOL':
      return diagnosis.notOkta(error.message);
    case 'UNKNOWN_HOST':
      return diagnosis.unreachable(error.message, 'Check the spelling of the instance URL.', subject);
    case 'PROXY':
      return diagnosis.unreachable(
        error.message,
        'Check the spelling of the instance URL. If it is correct, the operator of this server has to check OUTBOUND_PROXY.',
        subject,
      );
    case 'TLS':
      return diagnosis.unreachable(
        error.message,
        'Check that the instance URL is the address of your Okta organisation. If it is, its certificate has to be fixed.' +
          (error.isAboutAuthority ? ` ${extraAuthorities}` : ''),
        subject,
      );
    default:
      return diagnosis.unreachable(
        error.message,
        'Check the instance URL and whether this server may connect to that host, then try again.',
        subject,
      );
  }
}
