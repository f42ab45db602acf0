import type { ProviderEndpoints, Settings, SignInOffer } from '../settings.ts';

const kept = 'app-connections.sign-in';

/** What the page was told of an identity provider that the server could ask. */
export type Offer = SignInOffer & { provider: ProviderEndpoints };

/** What this tab remembers while somebody is away at the identity provider, and not a moment longer. */
export interface PendingAuthorization {
  state: string;
  nonce: string;
  /** Of PKCE. */
  verifier: string;
  /** The part of the address from # on, to come back to. */
  place: string;
  /** Whether the token is to be kept until the tab is closed. */
  keep: boolean;
}

/** What the identity provider has sent somebody back with. */
export interface Arrival {
  parameters: URLSearchParams;
  /** Absent: nobody went from this tab. */
  journey: PendingAuthorization | undefined;
}

/** Absent: there is no provider, or it could not be asked. */
export function offerOf({ oidc }: Settings): Offer | undefined {
  return oidc?.provider && (oidc as Offer);
}

/** Where the provider sends people back to, after signing in and after signing out, as is registered with it. */
export function ownAddress(): string {
  return location.origin + location.pathname;
}

export function beginJourney(journey: PendingAuthorization): void {
  sessionStorage.setItem(kept, JSON.stringify(journey));
}

/** Ends the journey that was begun, and takes what came of it out of the address and of the history. */
export function takeArrival(): Arrival | undefined {
  const begun = sessionStorage.getItem(kept);
  sessionStorage.removeItem(kept);
  const parameters = new URLSearchParams(location.search);
  if (!parameters.has('code') && !parameters.has('error')) return undefined;
  const journey = begun === null ? undefined : (JSON.parse(begun) as PendingAuthorization);
  history.replaceState(null, '', location.pathname + (journey?.place ?? ''));
  return { parameters, journey };
}

/** Goes to where the provider signs people out and sends them back, if it does such a thing. */
export function goToSignOut({ clientId, provider }: Offer): void {
  if (!provider.end_session_endpoint) return;
  const url = new URL(provider.end_session_endpoint);
  // Without an id_token_hint, which would be a token in an address.
  url.searchParams.set('client_id', clientId);
  url.searchParams.set('post_logout_redirect_uri', ownAddress());
  location.assign(url);
}
