import { randomUUID } from 'node:crypto';
import { tell } from '../../audit/hash-chain.ts';
import { auditRefusals } from '../../audit/record-refusals.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import {
  assertCanAsk,
  assertVerified,
  judge,
  outcomeColumns,
  part,
  sealedColumns,
} from '../credentials/credentials.ts';
import { appAndMethodOf, type ConnectionParts, outboundFor, uncountedOutboundFor } from '../deps.ts';
import type { CreateConnection } from '../input-schemas.ts';
import { storeConnection } from '../persistence/batch-insert.ts';
import { type Keep, once } from '../persistence/idempotency.ts';
import {
  assertNameFree,
  assertProject,
  keepingNamesApart,
  type Place,
} from '../persistence/project-scope.ts';
import { recall } from '../persistence/snapshot.ts';

const namePath = ['input', 'name'];
const credentialsPath = ['input', 'credentials'];

/**
 * Verifies credentials with the app, seals them and keeps the connection.
 *
 * @param appId the id of the app
 * @param signal aborts when the caller hangs up, who then finds nothing made
 * @throws Problem `FORBIDDEN`, `NOT_FOUND` (the project), `NAME_TAKEN`, `IDEMPOTENCY_CONFLICT`, or what the app's
 *   diagnosis says
 */
export async function createConnection(
  parts: ConnectionParts,
  caller: Caller,
  appId: string,
  input: CreateConnection,
  signal?: AbortSignal,
): Promise<AppConnection> {
  const { idempotencyKey, ...asked } = input;
  const request = { create: appId, ...asked };
  const { name: connectionName, projectId } = input;
  const attempt = { action: 'CREATE_CONNECTION', connectionName, projectId } as const;
  return auditRefusals(parts, caller, attempt, () => {
    caller.assertMay('connections:write');
    caller.assertMayUse(input.projectId ?? null, ['input', 'projectId']);
    return once(
      parts,
      caller,
      { idempotencyKey, request },
      (keep) => make(parts, caller, appId, input, keep, signal),
      recall,
    );
  });
}

async function make(
  parts: ConnectionParts,
  caller: Caller,
  appId: string,
  input: CreateConnection,
  keep: Keep,
  signal: AbortSignal | undefined,
): Promise<AppConnection> {
  const { orgId } = caller;
  const em = parts.database.fork(orgId);
  const place = { orgId, projectId: input.projectId ?? null } satisfies Place;
  const { app, method } = appAndMethodOf(parts, { app: appId, method: input.method });
  const credentials = part(method, input.credentials);
  assertCanAsk(uncountedOutboundFor(parts, caller), { app, method }, credentials.public, credentialsPath);
  await assertProject(parts, place);
  await assertNameFree(parts.database, place, input.name, namePath);

  const diagnosis = await judge(await outboundFor(parts, caller), { app, method }, credentials, signal);
  const isKeptAnyway = diagnosis.status === 'UNREACHABLE' && input.onUnreachable === 'SAVE_UNVERIFIED';
  if (!isKeptAnyway) assertVerified(diagnosis, method, credentialsPath);

  const id = randomUUID();
  const now = new Date();
  const columns = await sealedColumns(parts, em, { app, method, orgId, connectionId: id }, credentials);
  const made = {
    connection: {
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
      ...columns,
      ...outcomeColumns(diagnosis, now),
    },
    credentials,
    event: tell({
      ...{ ...caller.actor, action: 'CREATE_CONNECTION', outcome: 'OK' },
      ...{ connectionId: id, connectionName: input.name, projectId: place.projectId },
      fields: fieldsOf(input),
    }),
    keep,
  };
  return keepingNamesApart(place, namePath, () => storeConnection(parts, made));
}

/** The names of what was given, the parts of the credentials one by one. */
function fieldsOf({ credentials, ...input }: CreateConnection): string[] {
  const names = (values: object, prefix = '') =>
    Object.entries(values).flatMap(([name, value]) => (value == null ? [] : [prefix + name]));
  return [...names(input), ...names(credentials, 'credentials.')];
}
