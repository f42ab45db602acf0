import * as oauth from 'oauth4webapi';
import type { Problem } from '../api-error.ts';
import type { Outcome } from '../run-mutation.ts';
import type { Credential } from './credential.ts';
import { noJwt, notOfThisTab, notOverHttps, problemOfProvider } from './oidc-problem.ts';
import { type Arrival, beginJourney, type Offer, ownAddress } from './pending-authorization.ts';

/** How long before its end a token is renewed. */
const leadMs = 30_000;

/**
 * Goes to the identity provider; what comes back is for `arrive`.
 *
 * @param keep whether the token is to be kept until the tab is closed
 * @returns why that cannot be
 */
export async function leave(offer: Offer, keep: boolean): Promise<Problem | undefined> {
  if (!isSecureContext) return notOverHttps;
  const journey = {
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    verifier: oauth.generateRandomCodeVerifier(),
    place: location.hash,
    keep,
  };
  const url = new URL(offer.provider.authorization_endpoint);
  const parameters = {
    ...recipientOf(offer),
    client_id: offer.clientId,
    redirect_uri: ownAddress(),
    response_type: 'code',
    scope: offer.scopes,
    state: journey.state,
    nonce: journey.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(journey.verifier),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  beginJourney(journey);
  // Whoever comes back with the browser's button would find the page waiting, as it was left.
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload(), { once: true });
  location.assign(url);
  return undefined;
}

/** Exchanges what the provider has sent somebody back with for a token. */
export async function arrive(offer: Offer, { parameters, journey }: Arrival): Promise<Outcome<Credential>> {
  if (!journey) return { problem: notOfThisTab };
  const { provider, client, options } = partiesOf(offer);
  try {
    const answer = await oauth.authorizationCodeGrantRequest(
      provider,
      client,
      oauth.None(),
      oauth.validateAuthResponse(provider, client, parameters, journey.state),
      ownAddress(),
      journey.verifier,
      options,
    );
    const tokens = await oauth.processAuthorizationCodeResponse(provider, client, answer, {
      expectedNonce: journey.nonce,
      requireIdToken: true,
    });
    return tokens.access_token.startsWith('eyJ') ? { data: renewing(offer, tokens) } : { problem: noJwt };
  } catch (error) {
    return { problem: problemOfProvider(error) };
  }
}

/** A token that is renewed shortly before its end, as long as the provider has granted that and still does. */
function renewing(offer: Offer, first: oauth.TokenEndpointResponse): Credential {
  const { provider, client, options } = partiesOf(offer);
  let token = first.access_token;
  let refreshToken = first.refresh_token;
  let renewAt = renewalOf(first);

  const renew = async (granted: string) => {
    try {
      const answer = await oauth.refreshTokenGrantRequest(provider, client, oauth.None(), granted, options);
      const next = await oauth.processRefreshTokenResponse(provider, client, answer);
      token = next.access_token;
      refreshToken = next.refresh_token ?? granted;
      renewAt = renewalOf(next);
    } catch (error) {
      // What the provider has said no to is not asked again. Whether the token still is good, our server says.
      if (error instanceof oauth.ResponseBodyError) refreshToken = undefined;
    }
  };
  let renewal: Promise<void> | undefined;
  return {
    isToken: true,
    async current() {
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

function renewalOf({ expires_in: seconds }: oauth.TokenEndpointResponse): number {
  return seconds === undefined ? Number.POSITIVE_INFINITY : Date.now() + seconds * 1_000 - leadMs;
}

/** The provider and this page, as the library calls them. */
function partiesOf(offer: Offer) {
  return {
    provider: { ...offer.provider },
    client: { client_id: offer.clientId },
    options: {
      additionalParameters: recipientOf(offer),
      // The server has looked: of an issuer that has https, all endpoints do.
      [oauth.allowInsecureRequests]: offer.provider.issuer.startsWith('http:'),
    },
  };
}

/** Whom the token is to be for: RFC 8707 says so with `resource`, which has to be a URL, and some with `audience`. */
function recipientOf({ audience }: Offer): Record<string, string> {
  return { audience, ...(URL.canParse(audience) && { resource: audience }) };
}
