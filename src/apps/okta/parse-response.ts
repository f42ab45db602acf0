import { z } from 'zod';
import type { Secret } from '../../common/secret.ts';
import { parseJson } from '../../outbound/json.ts';

/** The part of `Error` in Okta's API description by which an answer of Okta's is recognised. */
const oktaError = z.object({ errorCode: z.string().regex(/^E\d{7}$/) });

/** `UserStatus` in Okta's API description. */
const userStatus = z.enum([
  'ACTIVE',
  'DEPROVISIONED',
  'LOCKED_OUT',
  'PASSWORD_EXPIRED',
  'PROVISIONED',
  'RECOVERY',
  'STAGED',
  'SUSPENDED',
]);

/**
 * An email address, as logins are by Okta's rules unless an organisation has others. A token of Okta's has 42
 * characters, so that none fits on either side of the @. The domain is put into lower case, which Okta's tokens are not.
 */
const login = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+'-]{0,39}@(?=.{4,40}$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$/)
  .transform((text) => text.replace(/@.*/, (domain) => domain.toLowerCase()));

/**
 * The part of `User` in Okta's API description that we keep, each in its own shape: a host can put what it likes into
 * its answer, the token in any encoding included. Only the id has to be there.
 */
const user = z.object({
  id: z.string().regex(/^00u[0-9A-Za-z]{1,17}$/),
  status: userStatus.nullish().catch(null),
  profile: z
    .object({ login: login.nullish().catch(null) })
    .nullish()
    .catch(null),
});

/** Who created the token. */
export type TokenOwner = { id: string; login: string | null; status: string | null };

/** The code of an error as Okta writes it; undefined if the refusal is not Okta's but some proxy's. */
export function readErrorCode(body: string): string | undefined {
  return oktaError.safeParse(parseJson(body)).data?.errorCode;
}

/** Reads the owner of the token out of Okta's answer, or says in a clause why it is not one. */
export function readTokenOwner(body: string, token: Secret): TokenOwner | { problem: string } {
  const json = parseJson(body);
  if (json === undefined) return { problem: 'the response is not JSON' };
  const { data } = user.safeParse(json);
  if (!data || token.appearsIn(data.id)) return { problem: 'the response does not describe an Okta user' };
  const { id, status = null, profile } = data;
  return { id, login: withoutToken(token, profile?.login), status };
}

/**
 * Okta's id of the request: 25 to 36 characters, by what Okta has been seen to send. A token of Okta's is longer.
 *
 * @returns null if there is none of that shape
 */
export function readRequestId(headers: Readonly<Record<string, string>>, token: Secret): string | null {
  const id = headers['x-okta-request-id'] ?? '';
  return /^[A-Za-z0-9_@-]{16,36}$/.test(id) ? withoutToken(token, id) : null;
}

/** A token that is shorter than Okta's would fit into these shapes. */
function withoutToken(token: Secret, text: string | null | undefined): string | null {
  return text == null || token.appearsIn(text) ? null : text;
}
