import { z } from 'zod';
import { type App, appTypeName, hasRateLimits } from '../apps/app.ts';
import { annotationDescriptions } from '../connections/annotations.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import { checkEveryDescription } from '../connections/check-interval.ts';
import { findConversionMethod } from '../connections/convert-input.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { DeletedConnection } from '../connections/operations/delete-and-restore.ts';
import { type FieldPaths, isCovered, readScope } from '../connections/payload-authorization.ts';
import { describeMaxShare } from '../connections/rate-budget/max-share.ts';
import type { Caller } from '../identity/caller.ts';
import { conversionResponse, selectConversion, serializeConversion } from './conversion-serializers.ts';
import { credentialsResponse, serializeCredentials } from './credentials-serializers.ts';

const id = z.guid().meta({ description: 'The id. It never changes.' });
const name = z
  .string()
  .meta({ description: 'The name, unique in its project, or among the connections without a project.' });
const orgId = z.guid().meta({ description: 'The id of the organisation.' });
const projectId = z
  .guid()
  .nullable()
  .meta({ description: 'The id of the project; null for a connection of the organisation itself.' });

/** The schema of a connection to this app. */
export function connectionResponse(app: App) {
  return z
    .object({
      id,
      name,
      projectId,
      description: z.string().nullable().meta({ description: 'A description for people.' }),
      version: z
        .int()
        .meta({ description: 'The version for optimistic locking: 1 at first, plus 1 with each change.' }),
      orgId,
      createdAt: z.iso.datetime().meta({ description: 'The time of creation.' }),
      updatedAt: z.iso.datetime().meta({ description: 'The time of the last change.' }),
      isPlatformManagedCredentials: z
        .boolean()
        .meta({ description: 'Whether this server creates and replaces the credentials.' }),
      credentialsHash: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .meta({
          description:
            'A keyed hash of the credentials. Two connections of an organisation have the same hash only if their credentials are the same.',
        }),
      app: z.literal(app.id).meta({ description: 'The id of the app.' }),
      method: z.enum(app.methods.map((method) => method.id)).meta({ description: 'The id of the method.' }),
      credentials: credentialsResponse(app),
      ...(findConversionMethod(app) && { conversion: conversionResponse(app).optional() }),
      tags: z
        .array(z.object({ key: z.string(), value: z.string() }))
        .optional()
        .meta({ description: `${annotationDescriptions.tags} Absent if there are none.` }),
      owner: z
        .object({ name: z.string(), email: z.string() })
        .optional()
        .meta({ description: `${annotationDescriptions.owner} Absent if there is none.` }),
      notes: z
        .string()
        .optional()
        .meta({ description: `${annotationDescriptions.notes} Absent if there are none.` }),
      checkEvery: z
        .int()
        .optional()
        .meta({ description: `${checkEveryDescription} Absent if it is the default.` }),
      ...(hasRateLimits(app) && {
        maxShareOfRateLimit: z
          .int()
          .optional()
          .meta({ description: `${describeMaxShare(app)} Absent if it is the default.` }),
      }),
    })
    .meta({ id: `${appTypeName(app)}Connection`, description: `A connection to ${app.name}.` });
}

/** The schema of a changed connection: without `connections:read`, only members of the request, the id and the version. */
export function changedConnectionResponse(app: App, connection: ConnectionResponse) {
  const part = connection.partial().required({ id: true, version: true });
  return z.union([connection, part]).meta({
    id: `Changed${appTypeName(app)}Connection`,
    description:
      `A connection to ${app.name} after a change. Without \`connections:read\`, only its id, its version and the ` +
      'members that the request has.',
  });
}

/** The zod schema of a changed connection. */
export type ChangedConnectionResponse = ReturnType<typeof changedConnectionResponse>;

/** The zod schema of such a connection. */
export type ConnectionResponse = ReturnType<typeof connectionResponse>;

/** The schema of a connection in short form. */
export function availableConnectionResponse(app: App) {
  return z.object({ id, name, app: z.literal(app.id), projectId, orgId }).meta({
    id: `Available${appTypeName(app)}Connection`,
    description: `A connection to ${app.name}, in short.`,
  });
}

/** The schema of a deleted connection. */
export const deletedConnectionResponse = z
  .object({
    id,
    restorableUntil: z.iso
      .datetime()
      .nullable()
      .meta({ description: 'The time until which it can be restored; null if it was purged.' }),
  })
  .meta({ id: 'DeletedConnection', description: 'The deleted connection.' });

/** The schema of an app that can be chosen. */
export const optionResponse = z
  .object({
    name: z.string().meta({ description: 'The display name of the app.' }),
    app: z.string().meta({ description: 'The id of the app, also in paths.' }),
    methods: z.array(z.string()).meta({ description: 'The ids of its methods.' }),
  })
  .meta({ id: 'ConnectionOption', description: 'An app that connections can be made to.' });

/** Converts a connection, with the public part of its credentials. */
export function serializeConnection(deps: ConnectionDeps, connection: AppConnection) {
  return {
    id: connection.id,
    name: connection.name,
    projectId: connection.projectId ?? null,
    description: connection.description ?? null,
    version: connection.version,
    orgId: connection.orgId,
    createdAt: connection.createdAt.toISOString(),
    updatedAt: connection.updatedAt.toISOString(),
    isPlatformManagedCredentials: connection.isPlatformManagedCredentials,
    credentialsHash: connection.credentialsHash,
    app: connection.app,
    method: connection.method,
    credentials: serializeCredentials(deps, connection),
    ...(connection.conversion && { conversion: serializeConversion(deps, connection) }),
    // Absent by default, so that a new connection has the documented members only.
    ...(connection.tags && { tags: connection.tags }),
    ...(connection.owner && { owner: connection.owner }),
    ...(connection.notes != null && { notes: connection.notes }),
    ...(connection.checkEvery != null && { checkEvery: connection.checkEvery }),
    ...(connection.maxShareOfRateLimit != null && { maxShareOfRateLimit: connection.maxShareOfRateLimit }),
  };
}

/**
 * Converts a changed connection.
 *
 * @param fields the members that are visible without `connections:read`
 */
export function serializeChangedConnection(
  deps: ConnectionDeps,
  caller: Caller,
  connection: AppConnection,
  fields: FieldPaths,
) {
  const shown = serializeConnection(deps, connection);
  if (caller.scopes.has(readScope)) return shown;
  const credentials = Object.entries(shown.credentials).filter(([name]) =>
    isCovered(fields, `credentials.${name}`),
  );
  const { id, version } = shown;
  return {
    id,
    version,
    ...Object.fromEntries(Object.entries(shown).filter(([name]) => isCovered(fields, name))),
    ...(credentials.length > 0 && { credentials: Object.fromEntries(credentials) }),
    ...selectConversion(shown.conversion, fields),
  };
}

/** Converts a connection to the short form. */
export function serializeAvailableConnection({ id, name, app, projectId, orgId }: AppConnection) {
  return { id, name, app, projectId: projectId ?? null, orgId };
}

/** Converts a deleted connection. */
export function serializeDeletedConnection({ id, restorableUntil }: DeletedConnection) {
  return { id, restorableUntil: restorableUntil?.toISOString() ?? null };
}
