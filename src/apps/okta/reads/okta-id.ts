import { z } from 'zod';

/** An id of Okta, which has 20 letters and digits. */
export const oktaId = z
  .string()
  .regex(/^[0-9A-Za-z]{20}$/, 'An id of Okta has 20 letters and digits, such as 00ub0oNGTSWTBKOLGLNR.');

/** A filter expression or a search text. Okta refuses long ones. */
export const filterText = z
  .string()
  .min(1, 'The text is empty; leave the argument out instead.')
  .max(1_000, 'The text must have at most 1000 characters.')
  .optional();

/** Okta's parameter for the size of a page. */
export const limit = { name: 'limit', min: 1 };
