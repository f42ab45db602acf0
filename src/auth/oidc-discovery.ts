import { z } from 'zod';
import { parseJson } from '../outbound/json.ts';
import type { Outbound } from '../outbound/outbound.ts';
import { OutboundError } from '../outbound/outbound-error.ts';

/** The metadata of a provider (OpenID Connect Discovery 1.0, section 3). Only `issuer` is validated. */
export type ProviderMetadata = Readonly<Record<string, unknown>> & { issuer: string };

/**
 * Fetches the metadata of a provider (OpenID Connect Discovery 1.0, section 4).
 *
 * @throws OutboundError if the request fails, or if the metadata is of another issuer
 */
export async function fetchProviderMetadata(issuer: string, outbound: Outbound): Promise<ProviderMetadata> {
  const metadata = await fetchJson(metadataUrl(issuer), outbound, 'configuration');
  // The metadata names the keys, so it must be that of the configured issuer.
  const { success, data } = z.looseObject({ issuer: z.literal(issuer) }).safeParse(metadata);
  if (!success) throw invalidMetadata();
  return data;
}

/** Returns the URL of the metadata of a provider. */
export function metadataUrl(issuer: string): URL {
  return new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
}

/** The error for metadata that is invalid or of another issuer. */
export function invalidMetadata(): OutboundError {
  return new OutboundError('PROTOCOL', 'its configuration is not that of OIDC_ISSUER');
}

/** The maximum size of a response of the provider. Key sets that contain certificates are large. */
export const maxProviderBytes = 256 * 1024;

/**
 * Fetches a JSON document of the provider.
 *
 * @param documentName appears in the error
 * @returns undefined if the response is not JSON, or too deeply nested
 */
export async function fetchJson(url: URL, outbound: Outbound, documentName: string): Promise<unknown> {
  const { status, body } = await outbound.get(url, { headers: { accept: 'application/json' } });
  if (status === 200) return parseJson(body);
  throw new OutboundError('PROTOCOL', `asked for its ${documentName}, it answered with status ${status}`);
}
