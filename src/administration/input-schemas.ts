import { z } from 'zod';
import { boundedText } from '../common/text.ts';
import { dateTime } from '../connections/input-schemas.ts';
import { scopes } from '../identity/caller.ts';

const maxNameLength = 64;
const maxProjects = 100;

/** What people call an organisation, a project or an API key; names that look the same because of accents are the same. */
export const displayName = boundedText(1_024, {
  tooLong: `A name has at most ${maxNameLength} characters; this text is far longer.`,
})
  .trim()
  .normalize('NFC')
  .min(1, { error: 'A name has at least one character.' })
  .max(maxNameLength, { error: `A name has at most ${maxNameLength} characters.` })
  .regex(/^[^\p{C}\p{Zl}\p{Zp}]*$/u, {
    error: 'A name has no control characters, no invisible ones and no line breaks.',
  });

/** A project to be made. */
export const createProjectSchema = z.object({ name: displayName });

/** An API key to be made. */
export const createApiKeySchema = z.object({
  name: displayName,
  scopes: z
    .array(z.enum(scopes))
    .min(1, { error: 'An API key needs at least one scope.' })
    .max(scopes.length, { error: `There are ${scopes.length} scopes; name each of them once.` }),
  projectIds: z
    .array(z.string())
    .min(1, { error: 'Name at least one project, or leave this out for all of the organisation.' })
    .max(maxProjects, { error: `An API key is limited to at most ${maxProjects} projects.` })
    .nullish(),
  expiresAt: dateTime
    .refine((time) => time > new Date(), { error: 'This is over already; give a time to come.' })
    .nullish(),
});

/** An API key to be made, checked. */
export type CreateApiKey = z.output<typeof createApiKeySchema>;
