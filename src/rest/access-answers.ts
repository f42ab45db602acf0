import { z } from 'zod';
import type { ApiKey } from '../access/api-key.entity.ts';
import { scopes } from '../access/caller.ts';
import type { Project } from '../access/organisation.entity.ts';
import type { Viewer } from '../administration/viewer.ts';

const id = z.guid().meta({ description: 'The id, which never changes.' });
const name = z.string().meta({ description: 'What people call it.' });
const timestamp = z.iso.datetime();

/** A project as REST shows it. */
export const projectAnswer = z
  .object({ id, name, createdAt: timestamp.meta({ description: 'When it was made.' }) })
  .meta({ id: 'Project', description: 'A workspace in an organisation.' });

/** What is known of an API key. */
export const apiKeyAnswer = z
  .object({
    id,
    name,
    scopes: z.array(z.enum(scopes)).meta({ description: 'What it may do.' }),
    projectIds: z
      .array(z.guid())
      .nullable()
      .meta({ description: 'The projects that it is limited to; null for all of the organisation.' }),
    createdAt: timestamp.meta({ description: 'When it was made.' }),
    createdBy: z
      .string()
      .nullable()
      .meta({
        description:
          'What made it: `key:` and the id of an API key, or `subject:` and whom the identity provider names; null for the ' +
          'operator, and when it is not known.',
      }),
    expiresAt: timestamp.nullable().meta({ description: 'From then on it lets nobody in; null for never.' }),
    revokedAt: timestamp.nullable().meta({ description: 'When it was revoked; null if it was not.' }),
    lastUsedAt: timestamp
      .nullable()
      .meta({ description: 'When it was last used, to the minute; null if it never was.' }),
  })
  .meta({ id: 'ApiKey', description: 'What is known of an API key. The key itself is not kept.' });

/** Who asks, and what they may do. */
export const viewerAnswer = z
  .object({
    organisation: z.object({ id, name }).meta({ description: 'Whose caller it is.' }),
    apiKey: apiKeyAnswer.nullable().meta({ description: 'The API key that was given; null for a token.' }),
    subject: z
      .string()
      .nullable()
      .meta({ description: 'Who the identity provider says it is; null for an API key.' }),
    scopes: z.array(z.enum(scopes)).meta({ description: 'What the caller may do.' }),
    projects: z
      .array(projectAnswer)
      .nullable()
      .meta({ description: 'The projects that the caller is limited to; null for all.' }),
    expiresAt: timestamp
      .nullable()
      .meta({ description: 'When the API key or the token lets nobody in any more; null for never.' }),
  })
  .meta({ id: 'Viewer', description: 'Who asks, and what they may do.' });

/** A project, as `projectAnswer` has it. */
export function showProject({ id, name, createdAt }: Project) {
  return { id, name, createdAt: createdAt.toISOString() };
}

/** An API key, as `apiKeyAnswer` has it. */
export function showApiKey(apiKey: ApiKey) {
  const { id, name, scopes, projectIds } = apiKey;
  return {
    ...{ id, name, scopes, projectIds: projectIds ?? null },
    createdAt: apiKey.createdAt.toISOString(),
    createdBy: apiKey.createdBy ?? null,
    expiresAt: apiKey.expiresAt?.toISOString() ?? null,
    revokedAt: apiKey.revokedAt?.toISOString() ?? null,
    lastUsedAt: apiKey.lastUsedAt?.toISOString() ?? null,
  };
}

/** A caller, as `viewerAnswer` has it. */
export function showViewer({ caller, organisation, apiKey, projects }: Viewer) {
  return {
    organisation: { id: organisation.id, name: organisation.name },
    apiKey: apiKey && showApiKey(apiKey),
    subject: caller.subject,
    scopes: [...caller.scopes],
    projects: projects?.map(showProject) ?? null,
    expiresAt: caller.expiresAt?.toISOString() ?? null,
  };
}
