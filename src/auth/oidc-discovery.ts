import { z } from 'zod';
import { parseJson } from '../outbound/json.ts';
import type { Outbound } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';

/** What a provider says of itself, under the names of OpenID Connect Discovery 1.0, section 3; not yet looked at. */
export type ProviderConfiguration = Readonly<Record<string, unknown>> & { issuer: string };

/**
 * Asks the provider what it says of itself (OpenID Connect Discovery 1.0, section 4).
 *
 * @throws OutboundError when it cannot be asked, or what it says is of another issuer
 */
export async function fetchProviderConfiguration(
  issuer: string,
  outbound: Outbound,
): Promise<ProviderConfiguration> {
  const configuration = await fetchJson(configurationUrl(issuer), outbound, 'configuration');
  // Of another issuer, the keys would be another's too.
  const { success, data } = z.looseObject({ issuer: z.literal(issuer) }).safeParse(configuration);
  if (!success) throw issuerMismatch();
  return data;
}

/** Where a provider says what it says of itself. */
export function configurationUrl(issuer: string): URL {
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

export function issuerMismatch(): OutboundError {
  return new OutboundError('PROTOCOL', 'its configuration is not that of OIDC_ISSUER');
}

/** The most bytes that a provider may answer with: sets of keys with certificates in them are large. */
export const maxProviderBytes = 256 * 1024;

/**
 * @param what the provider is asked for, in the error
 * @returns undefined when the answer is no JSON, or JSON with too much structure
 */
export async function fetchJson(url: URL, outbound: Outbound, what: string): Promise<unknown> {
  const { status, body } = await outbound.get(url, { headers: { accept: 'application/json' } });
  if (status === 200) return parseJson(body);
  throw new OutboundError('PROTOCOL', `asked for its ${what}, it answered with status ${status}`);
}
