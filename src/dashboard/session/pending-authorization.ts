import type { OidcClientConfig, ProviderEndpoints, Settings } from '../settings.ts';

const storageKey = 'app-connections.sign-in';

/** The OIDC client, with the endpoints of its provider. */
export type OidcClient = OidcClientConfig & { provider: ProviderEndpoints };

/** The state of a sign-in while the user is at the identity provider. The callback deletes it. */
export interface PendingAuthorization {
  state: string;
  nonce: string;
  /** The PKCE code verifier. */
  verifier: string;
  /** The fragment of the URL to return to. */
  returnTo: string;
  /** Whether to keep the token until the tab is closed. */
  keep: boolean;
}

/** A redirect back from the identity provider. */
export interface AuthCallback {
  parameters: URLSearchParams;
  /** Absent if this tab did not start a sign-in. */
  pending: PendingAuthorization | undefined;
}

/** Undefined if there is no provider, or the server cannot reach it. */
export function getOidcClient({ oidc }: Settings): OidcClient | undefined {
  return oidc?.provider && (oidc as OidcClient);
}

/** The registered redirect URI, for sign-in and sign-out. */
export function getRedirectUri(): string {
  return location.origin + location.pathname;
}

/** Stores the pending authorization for the callback. */
export function savePendingAuthorization(pending: PendingAuthorization): void {
  sessionStorage.setItem(storageKey, JSON.stringify(pending));
}

/** Reads the callback, deletes the pending authorization, and removes the parameters from the URL and the history. */
export function consumeAuthCallback(): AuthCallback | undefined {
  const stored = sessionStorage.getItem(storageKey);
  sessionStorage.removeItem(storageKey);
  const parameters = new URLSearchParams(location.search);
  if (!parameters.has('code') && !parameters.has('error')) return undefined;
  const pending = stored === null ? undefined : (JSON.parse(stored) as PendingAuthorization);
  history.replaceState(null, '', location.pathname + (pending?.returnTo ?? ''));
  return { parameters, pending };
}

/** Redirects to the provider's sign-out page, if it has one. */
export function redirectToSignOut({ clientId, provider }: OidcClient): void {
  if (!provider.end_session_endpoint) return;
  const url = new URL(provider.end_session_endpoint);
  // No id_token_hint, because that would be a token in a URL.
  url.searchParams.set('client_id', clientId);
  url.searchParams.set('post_logout_redirect_uri', getRedirectUri());
  location.assign(url);
}
