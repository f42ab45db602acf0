import { z } from 'zod';
import type { AuthMethod } from '../app.ts';
import type { CredentialsForecast } from '../credentials.ts';
import { isActiveStatus } from './parse-response.ts';

/** Okta ends an API token that is not used for so long, in milliseconds. */
const unusedMs = 30 * 86_400_000;

/** The details of a verification if they name one token, so that it is certain which one it is. */
const certainToken = z.object({ apiTokens: z.tuple([z.object({ expiresAt: z.iso.datetime() })]) });

/**
 * Says when Okta ends an API token: 30 days after its last use. Other programs may use the token too, so the time that Okta
 * states can be later; it counts if it is certainly that of this token.
 */
export function forecastApiToken({
  usedAt,
  account,
  details,
}: Parameters<NonNullable<AuthMethod['forecast']>>[0]): CredentialsForecast {
  const { success, data } = certainToken.safeParse(details);
  const statedMs = success ? Date.parse(data.apiTokens[0].expiresAt) : 0;
  return {
    expiresAt: new Date(Math.max(usedAt.getTime() + unusedMs, statedMs)),
    isOwnerInactive: account?.status != null && !isActiveStatus(account.status),
  };
}
