import { z } from 'zod';
import type { Viewer } from '../administration/viewer.ts';
import type { ApiKey } from '../identity/api-key.entity.ts';
import { scopes } from '../identity/caller.ts';
import type { Project } from '../identity/organisation.entity.ts';

const id = z.guid().meta({ description: 'The id. It never changes.' });
const name = z.string().meta({ description: 'The display name.' });
const timestamp = z.iso.datetime();

/** The schema of a project. */
export const projectResponse = z
  .object({ id, name, createdAt: timestamp.meta({ description: 'The time of creation.' }) })
  .meta({ id: 'Project', description: 'A project: a group of connections in an organisation.' });

/** The schema of an API key. */
export const apiKeyResponse = z
  .object({
    id,
    name,
    scopes: z.array(z.enum(scopes)).meta({ description: 'The scopes of the key.' }),
    projectIds: z
      .array(z.guid())
      .nullable()
      .meta({ description: 'The projects that the key is limited to; null if it is not limited.' }),
    connectionIds: z
      .array(z.guid())
      .nullable()
      .meta({ description: 'The connections that the key is limited to; null if it is not limited.' }),
    createdAt: timestamp.meta({ description: 'The time of creation.' }),
    createdBy: z
      .string()
      .nullable()
      .meta({
        description:
          'The creator: `key:` and the id of an API key, or `subject:` and the subject of an access token; null for the ' +
          'operator, if it is unknown, or if it is an API key that the caller cannot see.',
      }),
    expiresAt: timestamp
      .nullable()
      .meta({ description: 'The time at which the key expires; null if it does not.' }),
    revokedAt: timestamp
      .nullable()
      .meta({ description: 'The time of revocation; null if the key is not revoked.' }),
    lastUsedAt: timestamp
      .nullable()
      .meta({ description: 'The time of the last use, to the minute; null if the key was never used.' }),
  })
  .meta({ id: 'ApiKey', description: 'An API key, without the key itself, which is not stored.' });

/** The schema of the viewer. */
export const viewerResponse = z
  .object({
    organisation: z.object({ id, name }).meta({ description: 'The organisation of the caller.' }),
    apiKey: apiKeyResponse
      .nullable()
      .meta({ description: 'The API key of the request; null for an access token.' }),
    subject: z
      .string()
      .nullable()
      .meta({ description: 'The subject of the access token; null for an API key.' }),
    scopes: z.array(z.enum(scopes)).meta({ description: 'The scopes of the caller.' }),
    projects: z
      .array(projectResponse)
      .nullable()
      .meta({ description: 'The projects that the caller is limited to; null if it is not limited.' }),
    expiresAt: timestamp
      .nullable()
      .meta({ description: 'The time at which the API key or the token expires; null if it does not.' }),
  })
  .meta({ id: 'Viewer', description: 'The caller and its permissions.' });

/** Converts a project to `projectResponse`. */
export function serializeProject({ id, name, createdAt }: Project) {
  return { id, name, createdAt: createdAt.toISOString() };
}

/** Converts an API key to `apiKeyResponse`. */
export function serializeApiKey(apiKey: ApiKey) {
  const { id, name, scopes, projectIds, connectionIds } = apiKey;
  return {
    id,
    name,
    scopes,
    projectIds: projectIds ?? null,
    connectionIds: connectionIds ?? null,
    createdAt: apiKey.createdAt.toISOString(),
    createdBy: apiKey.createdBy ?? null,
    expiresAt: apiKey.expiresAt?.toISOString() ?? null,
    revokedAt: apiKey.revokedAt?.toISOString() ?? null,
    lastUsedAt: apiKey.lastUsedAt?.toISOString() ?? null,
  };
}

/** Converts a viewer to `viewerResponse`. */
export function serializeViewer({ caller, organisation, apiKey, projects }: Viewer) {
  return {
    organisation: { id: organisation.id, name: organisation.name },
    apiKey: apiKey && serializeApiKey(apiKey),
    subject: caller.subject,
    scopes: [...caller.scopes],
    projects: projects?.map(serializeProject) ?? null,
    expiresAt: caller.expiresAt?.toISOString() ?? null,
  };
}
