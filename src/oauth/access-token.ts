import { z } from 'zod';
import { Secret } from '../common/secret.ts';

/** An access token. It stays in the memory of the process. */
export interface AccessToken {
  token: Secret;
  type: 'Bearer' | 'DPoP';
  /** The granted scopes; those that were asked for if the server does not say. */
  scopes: readonly string[];
  /** When the response arrived, in milliseconds since the epoch. */
  mintedAt: number;
  /** In milliseconds since the epoch. */
  expiresAt: number;
}

/** RFC 6749, section 5.1. The syntax of the token is that of RFC 6750, section 2.1. */
const tokenResponse = z.object({
  access_token: z
    .string()
    .regex(/^[\w\-.~+/]+=*$/)
    .max(8_192),
  token_type: z.string().regex(/^(bearer|dpop)$/i),
  // It is only recommended. A token is none the less one if it says nothing sensible about its lifetime.
  expires_in: z.coerce.number().positive().optional().catch(undefined),
  scope: z.string().max(16_384).optional(),
});

/** In seconds. */
const defaultLifetime = 300;
const maxLifetime = 86_400;

/** Parses the body of a successful token response; undefined if it is none. */
export function parseAccessToken(
  body: unknown,
  asked: readonly string[],
  now: number,
): AccessToken | undefined {
  const { data } = tokenResponse.safeParse(body);
  if (!data) return undefined;
  const lifetime = Math.min(data.expires_in ?? defaultLifetime, maxLifetime);
  return {
    token: new Secret(data.access_token),
    type: data.token_type.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer',
    scopes: data.scope === undefined ? asked : data.scope.split(' ').filter(Boolean),
    mintedAt: now,
    expiresAt: now + lifetime * 1_000,
  };
}
