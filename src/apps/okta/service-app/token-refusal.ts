import type { AccessToken } from '../../../oauth/access-token.ts';
import type { OutboundResponse } from '../../../outbound/buffered-response.ts';
import type { Finding } from '../diagnosis.ts';

/** Okta's API does not accept the access tokens that its token endpoint gives out. */
const refusedToken: Finding = {
  status: 'REJECTED',
  code: 'CREDENTIALS_REJECTED',
  message: 'Okta gives access tokens to the app, but its API does not accept them (status 401).',
  remedy:
    'Verify the connection again. If that does not help, check in the Okta Admin Console that the app is active, and under ' +
    'Reports > System Log why the requests are refused; check also whether a proxy in between changes requests.',
};

/** Okta's API asks for DPoP with a token that is not bound to a key, so that no proof can help. */
const unboundToken: Finding = {
  ...refusedToken,
  message:
    'The API of Okta asks for a proof of possession (DPoP), but its token endpoint gives the app access tokens without one.',
  remedy:
    'In the Okta Admin Console, under General > General Settings of the app, set “Proof of possession” to require the DPoP ' +
    'header in token requests. Check also whether a proxy in between removes the header DPoP.',
};

/** Okta's API accepts the token, and no proof of possession. */
const refusedProof: Finding = {
  ...refusedToken,
  message:
    'Okta gives access tokens to the app, but its API refuses the proofs of possession (DPoP) of this server (status 400).',
  remedy:
    'Verify the connection again. If that does not help, compare the clock of this server with the time, and check whether a ' +
    'proxy in between changes requests, or removes the header DPoP-Nonce.',
};

/** The errors of proofs (RFC 9449, sections 7.1 and 9). Okta's API has them with status 400. */
const proofErrors = /\b(use_dpop_nonce|invalid_dpop_proof)\b/;

/**
 * Returns what it means that Okta's API does not accept an access token; undefined if it accepts it, or does not say.
 *
 * @param answers the responses to requests with the token
 */
export function findTokenRefusal(
  answers: readonly OutboundResponse[],
  type: AccessToken['type'],
): Finding | undefined {
  const isRefusal = ({ status, headers }: OutboundResponse) =>
    status === 401 || (status === 400 && proofErrors.test(headers['www-authenticate'] ?? ''));
  if (answers.length === 0 || !answers.every(isRefusal)) return undefined;
  const challenges = answers.flatMap(({ headers }) => headers['www-authenticate'] ?? []);
  const asksForDpop = challenges.some((challenge) => /\bDPoP\b/i.test(challenge));
  if (asksForDpop && type === 'Bearer') return unboundToken;
  return answers.some(({ status }) => status === 400) ? refusedProof : refusedToken;
}
