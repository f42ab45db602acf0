import { z } from 'zod';
import { Secret } from '../../secrets/secret.ts';

const tooLong =
  'The API token is longer than 256 characters, so it is not one of Okta’s. Copy the token alone.';
const where = 'Okta shows it once, when you create it under Security > API > Tokens in the Admin Console.';

/** With the white space around it. Of what is longer, nothing but the length is looked at. */
const maxGivenLength = 1_024;

/** The rule for an API token: white space around it goes, and what is left can be sent in a header. */
export const apiTokenRule = z
  .instanceof(Secret, { error: `Give the API token. ${where}` })
  .transform((secret, context) => {
    const given = secret.reveal();
    const token = given.length > maxGivenLength ? given : given.trim();
    const problem = problemOf(token);
    if (problem === undefined) return new Secret(token);
    context.addIssue({ code: 'custom', message: problem });
    return z.NEVER;
  });

/** What is wrong with a token, in words that do not repeat any of it. */
function problemOf(token: string): string | undefined {
  if (token.length > maxGivenLength) return tooLong;
  if (token === '') return `The API token is empty. ${where}`;
  if (/^ssws(\s|$)/i.test(token)) return 'Leave out “SSWS” and give only the API token that follows it.';
  if (/\s/.test(token)) return 'The API token has white space in it. Copy the token alone, in one piece.';
  if (!/^[\x21-\x7e]+$/.test(token)) {
    return `The API token has characters that no Okta token has. Copy it again. ${where}`;
  }
  return token.length > 256 ? tooLong : undefined;
}
