import { randomUUID } from 'node:crypto';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { currentTime } from '../../common/clock.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { noConversion } from '../credentials/conversion.ts';
import { assertHostAllowed } from '../credentials/host.ts';
import { pendingColumns, prepareKeys } from '../credentials/keys.ts';
import { noRevocations } from '../credentials/revocation.ts';
import { sealCredentials } from '../credentials/seal.ts';
import { splitCredentials } from '../credentials/split.ts';
import { verifyNewCredentials } from '../credentials/verify.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import type { CreateConnection } from '../input-schemas.ts';
import { type BuildOutcome, runIdempotent } from '../persistence/idempotency.ts';
import { assertProjectAndName } from '../persistence/project-and-name.ts';
import { fromSnapshot } from '../persistence/snapshot.ts';
import { storeConnection } from '../persistence/store-connection.ts';
import { assertRecipientAllowed } from '../recipient.ts';

/**
 * Creates a connection: authorizes the caller, checks host, project and name, verifies the credentials with the app,
 * encrypts them, and stores the connection with its audit event. A repeated request returns the first result. A key pair that
 * this server makes is not verified, because the app cannot know it yet.
 *
 * @param signal aborts when the client disconnects; then nothing is stored
 * @throws AppError `FORBIDDEN`, `NOT_FOUND` (the project), `NAME_TAKEN`, `HOST_NOT_ALLOWED`, `IDEMPOTENCY_CONFLICT`,
 *   `RATE_LIMITED`, `BAD_USER_INPUT` (an unusable private key), or the error with which the app rejects the credentials
 */
export async function createConnection(
  deps: ConnectionDeps,
  caller: Caller,
  appId: string,
  input: CreateConnection,
  signal?: AbortSignal,
): Promise<AppConnection> {
  const { idempotencyKey, ...fields } = input;
  const { name, projectId = null } = input;
  const attempt = { action: 'CREATE_CONNECTION', connectionName: name, projectId } as const;
  return withRefusalAudit(deps, caller, attempt, () => {
    caller.requireScope('connections:write');
    caller.requireProject(projectId, ['projectId']);
    caller.requireNamingConnections();
    if (input.owner) assertRecipientAllowed(deps, input.owner.email, ['owner', 'email']);

    const idempotency = { idempotencyKey, request: { create: appId, ...fields } };
    const create = (buildOutcome: BuildOutcome) =>
      verifyAndStore(deps, caller, { appId, input, signal, attempt, buildOutcome });
    return runIdempotent(deps, caller, idempotency, create, fromSnapshot);
  });
}

interface CreateRequest {
  appId: string;
  input: CreateConnection;
  signal: AbortSignal | undefined;
  /** What the audit event says of the attempt. */
  attempt: { action: 'CREATE_CONNECTION'; connectionName: string; projectId: string | null };
  buildOutcome: BuildOutcome;
}

async function verifyAndStore(
  deps: ConnectionDeps,
  caller: Caller,
  { appId, input, signal, attempt, buildOutcome }: CreateRequest,
): Promise<AppConnection> {
  const { orgId } = caller;
  const { name, description = null, projectId = null, tags = null, owner = null, notes = null } = input;
  const { app, method } = resolveAppAndMethod(deps, { app: appId, method: input.method });
  const given = splitCredentials(method, input.credentials);
  const { credentials, columns: keyColumns } = await prepareKeys(method, given);
  assertHostAllowed(deps, caller, { app, method }, credentials.public);
  await assertProjectAndName(deps, { orgId, projectId }, name);

  const id = randomUUID();
  const options = { onUnreachable: input.onUnreachable, signal, connection: { orgId, id, isNew: true } };
  const isPending = keyColumns.isPlatformManagedCredentials;
  // The app cannot know a key that was made just now. A verification is counted itself.
  if (isPending) await deps.limits.checkChange(caller);
  const verification = isPending
    ? pendingColumns(method, credentials.public)
    : await verifyNewCredentials(deps, caller, { app, method }, credentials, options);
  const sealed = await sealCredentials(deps, { app, method, orgId, connectionId: id }, credentials);

  const createdAt = verification.verificationCheckedAt ?? currentTime();
  return storeConnection(deps, {
    connection: {
      ...{ id, orgId, projectId, name, description, tags, owner, notes },
      ...{ app: app.id, method: method.id, version: 1 },
      ...{ createdAt, updatedAt: createdAt, statusSince: createdAt, deletedAt: null },
      ...{ usePolicy: null, maxShareOfRateLimit: null, checkEvery: null },
      ...{ keysDueAt: null, keyRegistrationFailure: null },
      ...noConversion,
      ...noRevocations,
      ...keyColumns,
      ...sealed,
      ...verification,
    },
    credentials,
    event: withRequestContext({
      ...caller.actor,
      ...attempt,
      connectionId: id,
      outcome: 'OK',
      fields: auditedFields(input),
    }),
    buildOutcome,
  });
}

/** The names of the fields that the input has, those of the credentials one by one. */
function auditedFields({ credentials, ...input }: CreateConnection): string[] {
  const names = (values: object, prefix = '') =>
    Object.entries(values).flatMap(([name, value]) => (value == null ? [] : [prefix + name]));
  return [...names(input), ...names(credentials, 'credentials.')];
}
