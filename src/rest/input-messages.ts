import { z } from 'zod';

/** What to give, by the type that a schema expects. */
const types: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
};

/**
 * Makes zod say what to give instead of a value of another type. It concerns all schemas of this process without a message of their
 * own, because some schemas parse a value again, where an option of the first parse has no effect.
 */
export function setInputMessages(): void {
  z.config({ customError: describeType });
}

/** @returns undefined for the message of zod */
function describeType(issue: z.core.$ZodRawIssue): string | undefined {
  const what =
    issue.code === 'invalid_type'
      ? types[issue.expected]
      : issue.code === 'invalid_value'
        ? `one of ${issue.values.map(String).join(', ')}`
        : undefined;
  if (what === undefined) return undefined;
  return issue.input === undefined ? `The member is missing. Give ${what}.` : `Give ${what}.`;
}
