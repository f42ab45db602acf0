import { z } from 'zod';
import type { Outbound } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';

/** What a provider says of itself, under the names of OpenID Connect Discovery 1.0, section 3; not yet looked at. */
export type ProviderConfiguration = Readonly<Record<string, unknown>> & { issuer: string };

/**
 * Asks the provider what it says of itself (OpenID Connect Discovery 1.0, section 4).
 *
 * @throws OutboundError when it cannot be asked, or what it says is of another issuer
 */
export async function discover(issuer: string, outbound: Outbound): Promise<ProviderConfiguration> {
  const body = await readJson(configurationUrl(issuer), outbound, 'configuration');
  try {
    // Of another issuer, the keys would be another's too.
    return z.looseObject({ issuer: z.literal(issuer) }).parse(JSON.parse(body));
  } catch {
    throw notOfIssuer();
  }
}

/** Where a provider says what it says of itself. */
export function configurationUrl(issuer: string): URL {
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

export function notOfIssuer(): OutboundError {
  return new OutboundError('PROTOCOL', 'its configuration is not that of OIDC_ISSUER');
}

/** @param what the provider is asked for, in the error */
export async function readJson(url: URL, outbound: Outbound, what: string): Promise<string> {
  const { status, body } = await outbound.get(url, { headers: { accept: 'application/json' } });
  if (status === 200) return body;
  throw new OutboundError('PROTOCOL', `asked for its ${what}, it answered with status ${status}`);
}
