import { randomUUID } from 'node:crypto';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import {
  assertHostAllowed,
  assertVerified,
  sealCredentials,
  splitCredentials,
  verificationColumns,
  verifyWithApp,
} from '../credentials/credentials.ts';
import { type ConnectionDeps, rateLimitedOutbound, resolveAppAndMethod, unmeteredOutbound } from '../deps.ts';
import type { CreateConnection } from '../input-schemas.ts';
import { storeConnection } from '../persistence/batch-insert.ts';
import { runIdempotent, type SaveOutcome } from '../persistence/idempotency.ts';
import {
  assertNameAvailable,
  assertProject,
  mapNameConflict,
  type ProjectScope,
} from '../persistence/project-scope.ts';
import { fromSnapshot } from '../persistence/snapshot.ts';

const namePath = ['input', 'name'];
const credentialsPath = ['input', 'credentials'];

/**
 * Verifies credentials with the app, seals them and keeps the connection.
 *
 * @param appId the id of the app
 * @param signal aborts when the caller hangs up, who then finds nothing made
 * @throws AppError `FORBIDDEN`, `NOT_FOUND` (the project), `NAME_TAKEN`, `IDEMPOTENCY_CONFLICT`, or what the app's
 *   diagnosis says
 */
export async function createConnection(
  deps: ConnectionDeps,
  caller: Caller,
  appId: string,
  input: CreateConnection,
  signal?: AbortSignal,
): Promise<AppConnection> {
  const { idempotencyKey, ...asked } = input;
  const request = { create: appId, ...asked };
  const { name: connectionName, projectId } = input;
  const attempt = { action: 'CREATE_CONNECTION', connectionName, projectId } as const;
  return withRefusalAudit(deps, caller, attempt, () => {
    caller.requireScope('connections:write');
    caller.requireProject(input.projectId ?? null, ['input', 'projectId']);
    return runIdempotent(
      deps,
      caller,
      { idempotencyKey, request },
      (keep) => verifyAndStore(deps, caller, appId, input, keep, signal),
      fromSnapshot,
    );
  });
}

async function verifyAndStore(
  deps: ConnectionDeps,
  caller: Caller,
  appId: string,
  input: CreateConnection,
  keep: SaveOutcome,
  signal: AbortSignal | undefined,
): Promise<AppConnection> {
  const { orgId } = caller;
  const em = deps.database.forOrganisation(orgId);
  const place = { orgId, projectId: input.projectId ?? null } satisfies ProjectScope;
  const { app, method } = resolveAppAndMethod(deps, { app: appId, method: input.method });
  const credentials = splitCredentials(method, input.credentials);
  assertHostAllowed(unmeteredOutbound(deps, caller), { app, method }, credentials.public, credentialsPath);
  await assertProject(deps, place);
  await assertNameAvailable(deps.database, place, input.name, namePath);

  const diagnosis = await verifyWithApp(
    await rateLimitedOutbound(deps, caller),
    { app, method },
    credentials,
    signal,
  );
  const isKeptAnyway = diagnosis.status === 'UNREACHABLE' && input.onUnreachable === 'SAVE_UNVERIFIED';
  if (!isKeptAnyway) assertVerified(diagnosis, method, credentialsPath);

  const id = randomUUID();
  const now = new Date();
  const columns = await sealCredentials(deps, em, { app, method, orgId, connectionId: id }, credentials);
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
      ...verificationColumns(diagnosis, now),
    },
    credentials,
    event: withRequestContext({
      ...{ ...caller.actor, action: 'CREATE_CONNECTION', outcome: 'OK' },
      ...{ connectionId: id, connectionName: input.name, projectId: place.projectId },
      fields: auditedFields(input),
    }),
    keep,
  };
  return mapNameConflict(place, namePath, () => storeConnection(deps, made));
}

/** The names of what was given, the parts of the credentials one by one. */
function auditedFields({ credentials, ...input }: CreateConnection): string[] {
  const names = (values: object, prefix = '') =>
    Object.entries(values).flatMap(([name, value]) => (value == null ? [] : [prefix + name]));
  return [...names(input), ...names(credentials, 'credentials.')];
}
