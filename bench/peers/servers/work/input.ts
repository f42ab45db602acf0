import { z } from 'zod';
import { Refused } from './refused.ts';

/** The input of a create, with the product's rules for validation and normalization. */
export type CreateConnection = z.output<typeof rule>;

const rule = z.strictObject({
  name: z
    .string()
    .trim()
    .min(1)
    .max(64)
    .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/),
  description: z
    .string()
    .trim()
    .refine((text) => [...text].length <= 256 && text.isWellFormed() && !/[^\P{Cc}\t\n\r]/u.test(text))
    .transform((text) => text || null)
    .nullish(),
  projectId: z.guid().nullish(),
  credentials: z.strictObject({
    // Only the fake Okta on this machine uses http.
    instanceUrl: z
      .url({ protocol: /^https?$/ })
      .refine((url) => !/[?#@]/.test(url))
      .transform((url) => new URL(url).origin),
    apiToken: z
      .string()
      .trim()
      .regex(/^[\x21-\x7e]{1,512}$/),
  }),
});

/** @throws Refused */
export function checkInput(input: unknown): CreateConnection {
  const checked = rule.safeParse(input);
  if (!checked.success) throw new Refused(422, 'BAD_USER_INPUT');
  return checked.data;
}
