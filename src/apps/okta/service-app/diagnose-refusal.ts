import { z } from 'zod';
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

/** The part of `OAuthMetadata` in Okta's API description that says that the metadata is that of the token endpoint. */
const metadata = z.object({ issuer: z.url(), token_endpoint: z.url() });

/**
 * Finds out whether Okta knows a client whose assertion it has refused (`invalid_client`).
 *
 * The public metadata for a client is an error if there is no such client, and needs nothing secret. Anything else, such as a page
 * of a proxy with status 200, says nothing. The host of the metadata can be another one: Okta formats it for each client.
 */
export async function diagnoseClient(
  { tokenUrl, clientId, keyId }: Pick<TokenClient, 'tokenUrl' | 'clientId' | 'keyId'>,
  outbound: Pick<Outbound, 'get'>,
): Promise<Finding> {
  const url = new URL('/.well-known/openid-configuration', tokenUrl);
  url.searchParams.set('client_id', clientId);
  const response = await outbound
    .get(url, { headers: { accept: 'application/json' } })
    .catch(() => undefined);
  const json = parseJson(response?.body ?? '');
  const { data } = metadata.safeParse(json);
  if (response?.status === 200 && data && new URL(data.token_endpoint).pathname === tokenUrl.pathname)
    return unknownKey(keyId);
  const { errorCode, error } = Object(json);
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
