/** The settings that the server embeds in the page; see `src/http/dashboard-files.ts`. */
export interface Settings {
  /** The nonce that the Content-Security-Policy requires for style elements. */
  nonce: string;
  /** Present if users can sign in with an identity provider. */
  oidc?: OidcClientConfig;
}

/** The OIDC client of the dashboard, as the server configures it. */
export interface OidcClientConfig {
  clientId: string;
  /** Separated by spaces. */
  scopes: string;
  audience: string;
  /** Absent if the server cannot reach the provider. */
  provider?: ProviderEndpoints;
}

/** The part of the provider's discovery document that the page needs. */
export interface ProviderEndpoints {
  issuer: string;
  authorization_endpoint: string;
  token_endpoint: string;
  end_session_endpoint?: string;
  id_token_signing_alg_values_supported?: string[];
  authorization_response_iss_parameter_supported?: boolean;
}

/** Reads the settings from the page and removes them. */
export function readSettings(): Settings {
  const element = document.getElementById('settings');
  element?.remove();
  return JSON.parse(element?.textContent ?? '{}') as Settings;
}
