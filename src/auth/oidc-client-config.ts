import { z } from 'zod';
import { type Logger, safeErrorFields } from '../common/log.ts';
import type { Outbound } from '../outbound/outbound.ts';
import type { OidcSettings } from './oidc.ts';
import { fetchProviderConfiguration, issuerMismatch } from './oidc-discovery.ts';

const freshMs = 600_000;

/** What a page has to know to send somebody to the identity provider and take the token that comes back. */
export interface OidcClientConfig {
  clientId: string;
  /** With spaces between. */
  scopes: string;
  audience: string;
  /** Absent: the provider cannot be asked. */
  provider?: ProviderEndpoints;
}

/** Of what the provider says of itself, under the same names, what a client needs. */
export type ProviderEndpoints = z.output<ReturnType<typeof endpointsSchema>>;

/**
 * Makes what pages are told. The server asks the provider where its endpoints are, so that the policy of a page can
 * name the one origin that the page has to ask. Asked for again when it is ten minutes old; while the provider cannot
 * be asked, what it said last holds.
 */
export function createOidcClientConfig(
  { issuer, audience, client }: OidcSettings,
  outbound: Outbound,
  log: Logger,
): () => Promise<OidcClientConfig | undefined> {
  const rule = endpointsSchema(issuer);
  let known: { provider: ProviderEndpoints; until: number } | undefined;
  let asking: Promise<void> | undefined;

  const ask = async () => {
    try {
      const { success, data } = rule.safeParse(await fetchProviderConfiguration(issuer, outbound));
      if (!success) throw issuerMismatch();
      known = { provider: data, until: Date.now() + freshMs };
    } catch (error) {
      log.warn({ error: safeErrorFields(error) }, 'the identity provider cannot be asked where one signs in');
    }
  };
  return async () => {
    if (!client) return undefined;
    if (!known || known.until < Date.now()) {
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      // A page that can do with what was known waits for nobody.
      if (!known) await asking;
    }
    return {
      clientId: client.id,
      scopes: client.scopes,
      audience,
      ...(known && { provider: known.provider }),
    };
  };
}

function endpointsSchema(issuer: string) {
  const protocol = issuer.startsWith('https:') ? /^https$/ : /^https?$/;
  // It goes into a policy, where some letters that names may have would mean something else.
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
