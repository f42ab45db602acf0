import { z } from 'zod';
import { Secret } from '../../common/secret.ts';

const tooLong = 'The API token is longer than 256 characters, so it is not from Okta. Copy only the token.';
const where = 'Okta shows it once, when you create it under Security > API > Tokens in the Admin Console.';

/** Includes surrounding white space. A longer text is not examined further. */
const maxGivenLength = 1_024;

/** The schema of an API token: it trims white space, and the rest can be sent in a header. */
export const apiTokenSchema = z
  .instanceof(Secret, { error: `Give the API token. ${where}` })
  .transform((secret, context) => {
    const given = secret.reveal();
    const token = given.length > maxGivenLength ? given : given.trim();
    const problem = findTokenIssue(token);
    if (problem === undefined) return new Secret(token);
    context.addIssue({ code: 'custom', message: problem });
    return z.NEVER;
  });

/**
 * Texts that people paste instead of the token or around it, each with its message. The first match is reported.
 * `<YOUR-API-TOKEN>` of the examples is not among them: the fake Okta accepts it.
 */
const mistakes: readonly (readonly [RegExp, string])[] = [
  [/^$/, `The API token is empty. ${where}`],
  [/\p{Cf}/u, 'The API token contains invisible characters. Copy it again from where Okta shows it.'],
  [
    /^["'`“”„‘’‚«»]|["'`“”„‘’‚«»]$/,
    'The API token is in quotation marks. Leave them out, and give only what is between them.',
  ],
  [
    /^(proxy-)?authorization\s*[:=]/i,
    'Leave out “Authorization:” and “SSWS”, and give only the API token that follows.',
  ],
  [
    /^ack_[\w-]{20}/,
    'This is an API key of this server, not an API token of Okta. It was not sent to Okta. Give the API token that Okta shows.',
  ],
  [/%[\da-f]{2}/i, 'The API token is percent-encoded, as in a URL. Give it as Okta shows it.'],
  [/^ssws([\s:=]|00|$)/i, 'Leave out “SSWS” and give only the API token that follows it.'],
  [
    /^(bearer|basic|dpop|token)[\s:=]/i,
    'Leave out the word before the API token, and give only the token that follows it.',
  ],
  [/^https?:\/\//i, 'This is an address. The instance URL goes into its own field; give the API token here.'],
  [
    /^[{[].*[:,]/s,
    'This is JSON. Give only the API token that is in it, without its name and quotation marks.',
  ],
  [
    /^(\$\w+|\$?\{+[^}]*\}+|\$\([^)]*\)|%\w+%|(var|local|env|process\.env|import\.meta\.env|secrets)\.\w+)$/,
    'This is the name of a variable that was not replaced by its value. Give the API token itself.',
  ],
  [
    /^((export|set|setx)\s+)?[$\w.:-]*[a-z_]\w*\s*[=:](?!=?$)/i,
    'Leave out the name before the API token and the sign after it, and give only the token.',
  ],
  [
    /^(null|undefined|none|nil|nan|\[?(secret|redacted|object object)\]?)$/i,
    'This is a placeholder for a missing or hidden value. Give the API token itself.',
  ],
  [/^[*•●·…]+$/, `This is how an API token looks when it is hidden. Copy the token itself. ${where}`],
  [
    /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/,
    'This is a JWT, such as an OAuth 2.0 access token, and not an API token. Create one under Security > API > Tokens.',
  ],
  [/\\[nrt]/, 'The API token contains a line break or a tab, written as \\n, \\r or \\t. Leave it out.'],
  [/\s/, 'The API token contains white space. Copy only the token, in one piece.'],
  [/[^\x21-\x7e]/, `The API token contains characters that Okta tokens do not have. Copy it again. ${where}`],
  [/[,;]$/, 'The API token ends with a comma or semicolon. Leave it out.'],
  [/\.\.\.$/, `The API token is cut off. Copy the whole token. ${where}`],
  [/=$/, 'The API token is encoded in base64, or missing after a name. Give it as Okta shows it.'],
  // The placeholder of this server's examples is between < and > too.
  [
    /^(?!<YOUR-API-TOKEN>$)([<>()[\]{}*~|:=].*|.*[<>()[\]{}*~|:])$/,
    'The API token has brackets or other signs around it. Leave them out, and give only what is between them.',
  ],
];

/** Finds the defect of a token. The message repeats nothing of it. */
function findTokenIssue(token: string): string | undefined {
  if (token.length > 256) return tooLong;
  return mistakes.find(([mistake]) => mistake.test(token))?.[1];
}
