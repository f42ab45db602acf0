import { Secret } from '../../../common/secret.ts';
import type { OAuth, OAuthClient } from '../../../oauth/oauth.ts';
import { AuthorizationError, type ConnectionUse } from '../../use.ts';
import { readRequestId } from '../parse-response.ts';
import { oktaUse } from '../use.ts';
import { requireOAuth } from './private-key.ts';
import { diagnoseTokenFailure } from './token-failure.ts';

/** Requests through a connection with a service app. */
export function createServiceAppUse(oauth: OAuth | undefined): ConnectionUse<OAuthClient> {
  return {
    ...oktaUse,
    createAuthorizer(_, client) {
      const { TokenRequestError } = requireOAuth(oauth);
      return {
        async authorize(request, outbound) {
          try {
            const { headers, token } = await client.authorize(request, outbound);
            return { headers, secret: token };
          } catch (error) {
            if (!(error instanceof TokenRequestError)) throw error;
            const upstreamRequestId = readRequestId(error.response.headers, new Secret(''));
            throw new AuthorizationError({ ...diagnoseTokenFailure(error), upstreamRequestId });
          }
        },
        observe: ({ secret }, response) => secret !== undefined && client.observe(secret, response),
      };
    },
  };
}
