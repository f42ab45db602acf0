import type { JWTPayload } from 'jose';
import { z } from 'zod';
import { scopes } from '../identity/caller.ts';

/** A list in a claim: an array, or a string with spaces between the items. */
const listClaim = z.union([
  z.array(z.string()),
  z.string().transform((text) => text.split(' ').filter(Boolean)),
]);

/** The last second of the year 9999. Later times have no ISO 8601 format with four digits for the year. */
const maxTimestampSeconds = 253_402_300_799;

/** The schema of an identity in the claims of a token. */
const identitySchema = z.object({
  orgId: z.guid().toLowerCase(),
  // OpenID Connect Core 1.0, section 2: at most 255 ASCII characters.
  subject: z.string().regex(/^[\x20-\x7e]{1,255}$/),
  // Scopes of other resource servers are ignored.
  scopes: listClaim.optional().transform((granted) => scopes.filter((scope) => granted?.includes(scope))),
  // An invalid list must not lift the limit: only a token without the claim is not limited.
  projectIds: listClaim
    .pipe(z.array(z.guid().toLowerCase()).max(1_000))
    .optional()
    .transform((ids) => ids ?? null),
  expiresAt: z
    .number()
    .max(maxTimestampSeconds)
    .transform((seconds) => new Date(seconds * 1_000)),
});

/** The configured names of claims. */
export interface ClaimSettings {
  orgClaim: string;
  scopeClaim: string;
  projectsClaim: string;
}

/** The name of the claim for each field of an identity. */
export type ClaimNames = Readonly<Record<keyof typeof identitySchema.shape, string>>;

/** Returns the claims that the settings name. */
export function claimNames({ orgClaim, scopeClaim, projectsClaim }: ClaimSettings): ClaimNames {
  return { orgId: orgClaim, subject: 'sub', scopes: scopeClaim, projectIds: projectsClaim, expiresAt: 'exp' };
}

/** Parses the identity in the claims of a token. */
export function parseIdentity(payload: JWTPayload, claims: ClaimNames) {
  const values = Object.entries(claims).map(([field, claim]) => [field, payload[claim]]);
  return identitySchema.safeParse(Object.fromEntries(values));
}
