import { z } from 'zod';
import { parseJson } from '../../outbound/json.ts';
import type { Secret } from '../../secrets/secret.ts';

/** The part of `Error` in Okta's API description by which an answer of Okta's is recognised. */
const oktaError = z.object({ errorCode: z.string().regex(/^E\d{7}$/) });

/** The part of `User` in Okta's API description that we keep. Only the id has to be there. */
const user = z.object({
  id: z.string(),
  status: z.string().nullish().catch(null),
  profile: z
    .object({ login: z.string().nullish().catch(null) })
    .nullish()
    .catch(null),
});

/** Who created the token. */
export type TokenOwner = { id: string; login: string | null; status: string | null };

/** Whether a body is an error as Okta writes it, so that the refusal is Okta's and not some proxy's. */
export function isOktaError(body: string): boolean {
  return oktaError.safeParse(parseJson(body)).success;
}

/** Reads the owner of the token out of Okta's answer, or says in a clause why it is not one. */
export function readTokenOwner(body: string, token: Secret): TokenOwner | { problem: string } {
  const json = parseJson(body);
  if (json === undefined) return { problem: 'the answer is not JSON' };
  const parsed = user.safeParse(json);
  const id = parsed.success ? clean(parsed.data.id, token) : null;
  if (!parsed.success || id === null) return { problem: 'the answer does not describe an Okta user' };
  return { id, login: clean(parsed.data.profile?.login, token), status: clean(parsed.data.status, token) };
}

/**
 * Text from the other side, fit to be stored and shown: at most 256 UTF-16 units, without control characters
 * (PostgreSQL takes no NUL) and broken surrogates. Text that repeats the token, even past that length, is dropped.
 */
function clean(text: string | null | undefined, token: Secret): string | null {
  const printable = strip(text ?? '');
  if (token.isIn(printable)) return null;
  // Cutting may have split a surrogate pair.
  return strip(printable.slice(0, 256)) || null;
}

function strip(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}]/gu, '');
}
