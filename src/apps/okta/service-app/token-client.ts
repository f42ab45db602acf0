import type { OAuth, TokenClient } from '../../../oauth/oauth.ts';
import { splitList } from '../../app.ts';
import type { Credentials } from '../../credentials.ts';
import { getKeyId } from './private-key.ts';

/** Converts valid credentials to the client that asks the org's token endpoint for access tokens. */
export function toTokenClient(oauth: OAuth, credentials: Credentials): TokenClient {
  const { instanceUrl, clientId, scopes } = credentials.public;
  const { privateKey } = credentials.secret;
  if (instanceUrl === undefined || clientId === undefined || scopes === undefined || privateKey === undefined)
    throw new Error('Okta credentials were not checked');
  return {
    tokenUrl: new URL('/oauth2/v1/token', instanceUrl),
    clientId,
    scopes: splitList(scopes),
    key: oauth.openPrivateKey(privateKey),
    keyId: getKeyId(credentials),
  };
}
