import type { OAuth, TokenClient, TokenRequestError } from '../../../oauth/oauth.ts';
import { parseJson } from '../../../outbound/json.ts';
import type { Outbound } from '../../../outbound/outbound.ts';
import type { Finding } from '../diagnosis.ts';
import { findMissingScopes } from './missing-scopes.ts';
import {
  diagnoseTokenFailure,
  missingScopes,
  unknownClient,
  unknownClientOrKey,
  unknownKey,
  withClock,
} from './token-failure.ts';

/**
 * Finds out why Okta has refused a token. Okta does not say whether it knows the client or the key, nor which of the scopes it
 * refuses, so it is asked further questions.
 *
 * @param clock by how many seconds Okta's clock is ahead
 */
export async function diagnoseRefusal(
  oauth: OAuth,
  client: TokenClient,
  error: TokenRequestError,
  { outbound, clock }: { outbound: Outbound; clock: number | null },
): Promise<Finding> {
  const finding = diagnoseTokenFailure(error);
  if (finding.status !== 'REJECTED') return finding;
  if (error.code === 'invalid_client') return withClock(await diagnoseClient(client, outbound), clock);
  if (error.code === 'invalid_scope') return diagnoseScopes(oauth, client, outbound);
  return withClock(finding, clock);
}

/** The public metadata for a client is an error if there is no such client, and needs nothing secret. */
async function diagnoseClient(
  { tokenUrl, clientId, keyId }: TokenClient,
  outbound: Outbound,
): Promise<Finding> {
  const url = new URL('/.well-known/openid-configuration', tokenUrl);
  url.searchParams.set('client_id', clientId);
  const response = await outbound
    .get(url, { headers: { accept: 'application/json' } })
    .catch(() => undefined);
  if (response?.status === 200) return unknownKey(keyId);
  const { errorCode, error } = Object(parseJson(response?.body ?? ''));
  const isUnknown = response?.status === 400 && [errorCode, error].includes('invalid_client');
  return isUnknown ? unknownClient : unknownClientOrKey(keyId);
}

async function diagnoseScopes(oauth: OAuth, client: TokenClient, outbound: Outbound): Promise<Finding> {
  const isGranted = async (scopes: readonly string[]) => {
    try {
      await oauth.requestNewToken(outbound, { ...client, scopes });
      return true;
    } catch (error) {
      return error instanceof oauth.TokenRequestError && error.code === 'invalid_scope' ? false : undefined;
    }
  };
  const { missing, uncertain } = await findMissingScopes(client.scopes, isGranted);
  // Together they are refused, and each half of them is not: Okta has changed its mind.
  return missing.length + uncertain.length > 0
    ? missingScopes(missing, uncertain)
    : missingScopes([], client.scopes);
}
