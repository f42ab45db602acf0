import * as oauth from 'oauth4webapi';
import type { ApiError } from '../api-error.ts';
import type { MutationResult } from '../run-mutation.ts';
import type { Credential } from './credential.ts';
import { insecureContext, notAJwt, toProviderError, unexpectedCallback } from './oidc-errors.ts';
import {
  type AuthCallback,
  getRedirectUri,
  type OidcClient,
  savePendingAuthorization,
} from './pending-authorization.ts';

/** How long before its expiry a token is renewed. */
const renewBeforeExpiryMs = 30_000;

/**
 * Redirects to the identity provider, which redirects back; then `handleCallback` completes the sign-in.
 *
 * @param keep whether to keep the token until the tab is closed
 * @returns an error if the page cannot start the sign-in
 */
export async function startLogin(oidc: OidcClient, keep: boolean): Promise<ApiError | undefined> {
  if (!isSecureContext) return insecureContext;
  const pending = {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
    returnTo: location.hash,
    keep,
  };
  const url = new URL(oidc.provider.authorization_endpoint);
  const parameters = {
    ...audienceParameters(oidc),
    client_id: oidc.clientId,
    redirect_uri: getRedirectUri(),
    response_type: 'code',
    scope: oidc.scopes,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  savePendingAuthorization(pending);
  // The back button would restore the page from the cache in its loading state.
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload(), { once: true });
  location.assign(url);
  return undefined;
}

/** Exchanges the authorization code of the callback for tokens. */
export async function handleCallback(
  oidc: OidcClient,
  { parameters, pending }: AuthCallback,
): Promise<MutationResult<Credential>> {
  if (!pending) return { apiError: unexpectedCallback };
  const { provider, client, options } = toOauthParties(oidc);
  try {
    const response = await oauth.authorizationCodeGrantRequest(
      provider,
      client,
      oauth.None(),
      oauth.validateAuthResponse(provider, client, parameters, pending.state),
      getRedirectUri(),
      pending.verifier,
      options,
    );
    const tokens = await oauth.processAuthorizationCodeResponse(provider, client, response, {
      expectedNonce: pending.nonce,
      requireIdToken: true,
    });
    return tokens.access_token.startsWith('eyJ')
      ? { data: createRenewingCredential(oidc, tokens) }
      : { apiError: notAJwt };
  } catch (error) {
    return { apiError: toProviderError(error) };
  }
}

/** Creates a credential that renews its token shortly before expiry, while the provider accepts the refresh token. */
function createRenewingCredential(oidc: OidcClient, first: oauth.TokenEndpointResponse): Credential {
  const { provider, client, options } = toOauthParties(oidc);
  let token = first.access_token;
  let refreshToken = first.refresh_token;
  let renewAt = getRenewalTime(first);

  const renew = async (currentRefreshToken: string) => {
    try {
      const response = await oauth.refreshTokenGrantRequest(
        provider,
        client,
        oauth.None(),
        currentRefreshToken,
        options,
      );
      const next = await oauth.processRefreshTokenResponse(provider, client, response);
      token = next.access_token;
      refreshToken = next.refresh_token ?? currentRefreshToken;
      renewAt = getRenewalTime(next);
    } catch (error) {
      // A rejected refresh token is not sent again. The server decides whether the access token is still valid.
      if (error instanceof oauth.ResponseBodyError) refreshToken = undefined;
    }
  };
  let renewal: Promise<void> | undefined;
  return {
    isToken: true,
    async getSecret() {
      if (refreshToken && Date.now() > renewAt) {
        renewal ??= renew(refreshToken).finally(() => {
          renewal = undefined;
        });
        await renewal;
      }
      return token;
    },
  };
}

function getRenewalTime({ expires_in: seconds }: oauth.TokenEndpointResponse): number {
  return seconds === undefined
    ? Number.POSITIVE_INFINITY
    : Date.now() + seconds * 1_000 - renewBeforeExpiryMs;
}

/** The authorization server, client and options for `oauth4webapi`. */
function toOauthParties(oidc: OidcClient) {
  return {
    provider: { ...oidc.provider },
    client: { client_id: oidc.clientId },
    options: {
      additionalParameters: audienceParameters(oidc),
      // The server has checked that an issuer with https has only https endpoints.
      [oauth.allowInsecureRequests]: oidc.provider.issuer.startsWith('http:'),
    },
  };
}

/** Requests the audience: `resource` is RFC 8707 and must be a URL; some providers use `audience` instead. */
function audienceParameters({ audience }: OidcClient): Record<string, string> {
  return { audience, ...(URL.canParse(audience) && { resource: audience }) };
}
