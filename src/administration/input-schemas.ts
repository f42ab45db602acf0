import { z } from 'zod';
import { currentTime } from '../common/clock.ts';
import { dateTime } from '../common/date-time.ts';
import { boundedText } from '../common/text.ts';
import { scopes } from '../identity/caller.ts';

const maxNameLength = 64;
const maxProjects = 100;
const maxConnections = 100;

/** The schema of a display name. Unicode normalisation makes names with the same accented letters equal. */
export const displayName = boundedText(1_024, {
  tooLong: `A name has at most ${maxNameLength} characters.`,
})
  .trim()
  .normalize('NFC')
  .min(1, { error: 'A name has at least one character.' })
  .max(maxNameLength, { error: `A name has at most ${maxNameLength} characters.` })
  .regex(/^[^\p{C}\p{Zl}\p{Zp}]*$/u, {
    error: 'A name must not contain control characters, invisible characters or line breaks.',
  });

/** The schema of `createProject`. */
export const createProjectSchema = z.object({ name: displayName });

/** The schema of `createApiKey`. */
export const createApiKeySchema = z.object({
  name: displayName,
  scopes: z
    .array(z.enum(scopes))
    .min(1, { error: 'An API key needs at least one scope.' })
    .max(scopes.length, { error: `There are ${scopes.length} scopes. Name each at most once.` }),
  projectIds: z
    .array(z.string())
    .min(1, {
      error: 'Name at least one project, or omit the field for a key that is not limited to projects.',
    })
    .max(maxProjects, { error: `An API key is limited to at most ${maxProjects} projects.` })
    .nullish(),
  connectionIds: z
    .array(z.string())
    .min(1, {
      error: 'Name at least one connection, or omit the field for a key that is not limited to connections.',
    })
    .max(maxConnections, { error: `An API key is limited to at most ${maxConnections} connections.` })
    .nullish(),
  expiresAt: dateTime
    .refine((time) => time > currentTime(), { error: 'The time must be in the future.' })
    .nullish(),
});

/** The validated input of `createApiKey`. */
export type CreateApiKey = z.output<typeof createApiKeySchema>;
