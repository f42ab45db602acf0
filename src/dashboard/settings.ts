/** What the server tells the page; see `src/http/dashboard-files.ts`. */
export interface Settings {
  /** Lets style elements through the Content-Security-Policy. */
  nonce: string;
  /** How to sign in with the identity provider, where there is one. */
  oidc?: SignInOffer;
}

/** What the page has to know to send somebody to the identity provider and take the token that comes back. */
export interface SignInOffer {
  clientId: string;
  /** With spaces between. */
  scopes: string;
  audience: string;
  /** Absent: the server cannot ask the provider. */
  provider?: ProviderEndpoints;
}

/** What the provider says of itself, under its own names. */
export interface ProviderEndpoints {
  issuer: string;
  authorization_endpoint: string;
  token_endpoint: string;
  end_session_endpoint?: string;
  id_token_signing_alg_values_supported?: string[];
  authorization_response_iss_parameter_supported?: boolean;
}

/** Reads the settings out of the page, and leaves none there. */
export function takeSettings(): Settings {
  const element = document.getElementById('settings');
  element?.remove();
  return JSON.parse(element?.textContent ?? '{}') as Settings;
}
