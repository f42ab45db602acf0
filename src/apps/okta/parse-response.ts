import { z } from 'zod';
import type { Secret } from '../../common/secret.ts';
import { parseJson } from '../../outbound/json.ts';

/** The part of `Error` in Okta's API description that identifies a response of Okta. */
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
 * The statuses in which the API tokens of a user work. To sign in, the user has to do something in most of them, but a token does not
 * depend on the password: https://support.okta.com/help/s/article/api-token-validity-after-an-okta-admin-password-reset
 */
const activeStatuses: readonly string[] = [
  'ACTIVE',
  'LOCKED_OUT',
  'PASSWORD_EXPIRED',
  'RECOVERY',
] satisfies z.infer<typeof userStatus>[];

/** Whether Okta counts a user with this status as active, so that the API tokens of the user work. */
export function isActiveStatus(status: string): boolean {
  return activeStatuses.includes(status);
}

/**
 * An email address, which is Okta's default format of logins. An Okta token has 42 characters and fits on neither side of
 * the @. The domain is converted to lower case, which destroys a token.
 */
const login = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+'-]{0,39}@(?=.{4,40}$)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$/)
  .transform((text) => text.replace(/@.*/, (domain) => domain.toLowerCase()));

/**
 * The stored part of `User` in Okta's API description. Each value has a strict format, because a hostile host can put the
 * token in any encoding into its response. Only the id is required.
 */
const user = z.object({
  id: z.string().regex(/^00u[0-9A-Za-z]{1,17}$/),
  status: userStatus.nullish().catch(null),
  profile: z
    .object({ login: login.nullish().catch(null) })
    .nullish()
    .catch(null),
});

/** The user who created the token. */
export type TokenOwner = { id: string; login: string | null; status: string | null };

/** Reads Okta's error code; undefined if the response is not Okta's but, for example, a proxy's. */
export function readErrorCode(body: string): string | undefined {
  return parseErrorCode(parseJson(body));
}

/** As `readErrorCode`, from parsed JSON. */
export function parseErrorCode(json: unknown): string | undefined {
  return oktaError.safeParse(json).data?.errorCode;
}

/** Reads the token's owner from Okta's response, or returns a clause with its defect. */
export function readTokenOwner(body: string, token: Secret): TokenOwner | { problem: string } {
  const json = parseJson(body);
  if (json === undefined) return { problem: 'the response is not JSON' };
  const { data } = user.safeParse(json);
  if (!data || token.appearsIn(data.id)) return { problem: 'the response does not describe an Okta user' };
  const { id, status = null, profile } = data;
  return { id, login: withoutToken(token, profile?.login), status };
}

/**
 * Reads Okta's request id: 25 to 36 characters in observed responses. An Okta token is longer.
 *
 * @returns null without a header of this format
 */
export function readRequestId(headers: Readonly<Record<string, string>>, token: Secret): string | null {
  const id = headers['x-okta-request-id'] ?? '';
  return /^[A-Za-z0-9_@-]{16,36}$/.test(id) ? withoutToken(token, id) : null;
}

/** Removes a value that contains the token: a token shorter than Okta's would fit these formats. */
function withoutToken(token: Secret, text: string | null | undefined): string | null {
  return text == null || token.appearsIn(text) ? null : text;
}
