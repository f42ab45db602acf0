import { z } from 'zod';

const where =
  'It is under General > Client Credentials of the app in the Admin Console, and usually begins with 0oa.';

/** Texts that people give instead of a client id, each with its message. The first match is reported. */
const mistakes: readonly (readonly [RegExp, string])[] = [
  [/^$/, `The client id is empty. ${where}`],
  [/^https?:\/\//i, `This is an address and not a client id. ${where}`],
  [/@/, `This is a user name or an email address and not a client id. ${where}`],
  [
    /^00[a-z][A-Za-z0-9]{17}$/,
    `This is the id of another object in Okta, such as a user or a group. ${where}`,
  ],
  [/-----BEGIN|^\s*\{/, `This is a key. The client id goes here, and the key into its own field. ${where}`],
  [/\s/, `The client id must not contain spaces or line breaks. ${where}`],
];

/** The schema of a client id, by Okta's API description: alphanumeric characters and a few others. */
export const clientIdSchema = z
  .string({ error: `Give the client id. ${where}` })
  .max(1_000, { error: 'The client id must have at most 100 characters.', abort: true })
  .trim()
  .superRefine((text, context) => {
    const [, message] = mistakes.find(([pattern]) => pattern.test(text)) ?? [];
    const isValid = /^[\w$\-.+!*'(),]{6,100}$/.test(text);
    if (message === undefined && isValid) return;
    context.addIssue({
      code: 'custom',
      message:
        message ??
        `A client id has 6 to 100 letters, digits and characters of $-_.+!*'(), and no others. ${where}`,
    });
  });
