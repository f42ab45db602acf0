import { randomUUID } from 'node:crypto';
import type { Caller } from '../access/caller.ts';
import { AppConnection } from './app-connection.entity.ts';
import { assertVerified, outcomeColumns, part, sealedColumns } from './credentials.ts';
import type { CreateConnection } from './input.ts';
import { appAndMethodOf, type ConnectionParts } from './parts.ts';
import { assertNameFree, assertProject, keepingNamesApart, type Place } from './place.ts';

const namePath = ['input', 'name'];

/**
 * Verifies credentials with the app, seals them and keeps the connection.
 *
 * @param appId the id of the app
 * @throws Problem `FORBIDDEN`, `NOT_FOUND` (the project), `NAME_TAKEN`, or what the app's diagnosis says
 */
export async function createConnection(
  parts: ConnectionParts,
  caller: Caller,
  appId: string,
  input: CreateConnection,
): Promise<AppConnection> {
  caller.assertMay('connections:write');
  const em = parts.database.fork();
  const { orgId } = caller;
  const place: Place = { orgId, projectId: input.projectId ?? null };
  await assertProject(em, place);
  await assertNameFree(em, place, input.name, namePath);

  const { app, method } = appAndMethodOf(parts, { app: appId, method: input.method });
  const credentials = part(method, input.credentials);
  const diagnosis = await method.verify(credentials, parts.outbound);
  const isKeptAnyway = diagnosis.status === 'UNREACHABLE' && input.onUnreachable === 'SAVE_UNVERIFIED';
  if (!isKeptAnyway) assertVerified(diagnosis);

  const id = randomUUID();
  const now = new Date();
  const connection = em.create(AppConnection, {
    id,
    ...place,
    name: input.name,
    description: input.description ?? null,
    app: app.id,
    method: method.id,
    version: 1,
    createdAt: now,
    updatedAt: now,
    deletedAt: null,
    isPlatformManagedCredentials: false,
    ...(await sealedColumns(parts, em, { app, method, orgId, connectionId: id }, credentials)),
    ...outcomeColumns(diagnosis, now),
  });
  await keepingNamesApart(place, namePath, () => em.flush());
  return connection;
}
