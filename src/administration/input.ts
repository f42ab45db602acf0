import { z } from 'zod';
import { scopes } from '../access/caller.ts';

const maxNameLength = 64;
const maxProjects = 100;

/** What people call an API key or a project. */
const givenName = z
  .string()
  .trim()
  .min(1, { error: 'A name has at least one character.' })
  .max(maxNameLength, { error: `A name has at most ${maxNameLength} characters.` })
  .regex(/^\P{C}*$/u, { error: 'A name has no control characters and no line breaks.' });

/** The name of a project. */
export const projectName = givenName;

/** A project to be made. */
export const createProjectRule = z.object({ name: projectName });

/** An API key to be made. */
export const createApiKeyRule = z.object({
  name: givenName,
  scopes: z
    .array(z.enum(scopes))
    .min(1, { error: 'An API key needs at least one scope.' })
    .transform((given) => [...new Set(given)]),
  projectIds: z
    .array(z.string())
    .min(1, { error: 'Name at least one project, or leave this out for all of the organisation.' })
    .max(maxProjects, { error: `An API key is limited to at most ${maxProjects} projects.` })
    .transform((given) => [...new Set(given)])
    .nullish(),
  expiresAt: z
    .date()
    .refine((time) => time > new Date(), { error: 'This is over already; give a time to come.' })
    .nullish(),
});

/** An API key to be made, checked. */
export type CreateApiKey = z.output<typeof createApiKeyRule>;
