import { z } from 'zod';
import { currentTimeMs } from '../common/clock.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { OidcSettings } from './oidc.ts';
import { fetchProviderMetadata, invalidMetadata } from './oidc-discovery.ts';

const ttlMs = 600_000;

/** The configuration with which the dashboard signs users in at the identity provider. */
export interface OidcClientConfig {
  clientId: string;
  /** Separated by spaces. */
  scopes: string;
  audience: string;
  /** Absent if the metadata of the provider cannot be fetched. */
  provider?: ProviderEndpoints;
}

/** The fields of the provider's metadata that a client needs. */
export type ProviderEndpoints = z.output<ReturnType<typeof endpointsSchema>>;

/**
 * Creates a function that returns the configuration of the dashboard, or undefined if no client is configured. The server
 * fetches the endpoints of the provider, so that the content security policy of the dashboard can name their origin. They
 * are refreshed after ten minutes; if that fails, the previous ones stay in use.
 */
export function createOidcClientConfig(
  { issuer, audience, client }: OidcSettings,
  outbound: Outbound,
  log: Logger,
): () => Promise<OidcClientConfig | undefined> {
  const schema = endpointsSchema(issuer);
  let cached: { provider: ProviderEndpoints; until: number } | undefined;
  let refreshing: Promise<void> | undefined;

  const refresh = async () => {
    try {
      const { success, data } = schema.safeParse(await fetchProviderMetadata(issuer, outbound));
      if (!success) throw invalidMetadata();
      cached = { provider: data, until: currentTimeMs() + ttlMs };
    } catch (error) {
      log.warn(
        { error: safeErrorFields(error) },
        'could not fetch the configuration of the identity provider',
      );
    }
  };
  return async () => {
    if (!client) return undefined;
    if (!cached || cached.until < currentTimeMs()) {
      refreshing ??= refresh().finally(() => {
        refreshing = undefined;
      });
      // Expired metadata is returned at once, and refreshed in the background.
      if (!cached) await refreshing;
    }
    return {
      clientId: client.id,
      scopes: client.scopes,
      audience,
      ...(cached && { provider: cached.provider }),
    };
  };
}

function endpointsSchema(issuer: string) {
  const protocol = issuer.startsWith('https:') ? /^https$/ : /^https?$/;
  // The host goes into the content security policy, so characters with a meaning there are not allowed.
  const endpoint = z.url({ protocol, hostname: /^[\w.:[\]-]+$/ });
  return z.object({
    issuer: z.string(),
    authorization_endpoint: endpoint,
    token_endpoint: endpoint,
    end_session_endpoint: endpoint.optional(),
    id_token_signing_alg_values_supported: z.array(z.string()).optional(),
    authorization_response_iss_parameter_supported: z.boolean().optional(),
  });
}
