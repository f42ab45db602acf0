import type { App, AuthMethod, Credentials, Field } from '../../apps/app.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { type Issue, validationError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import {
  assertHostAllowed,
  assertVerified,
  getHost,
  openCredentials,
  resealIfKeyRetired,
  sealCredentials,
  splitCredentials,
  verificationColumns,
  verifyWithApp,
} from '../credentials/credentials.ts';
import {
  type ConnectionDeps,
  rateLimitedOutbound,
  requireApp,
  resolveAppAndMethod,
  unmeteredOutbound,
} from '../deps.ts';
import { type UpdateConnection, unknownFieldMessage } from '../input-schemas.ts';
import { type FieldPaths, requireSelectable, updatePayloadFields } from '../payload-authorization.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { runIdempotent, type SaveOutcome } from '../persistence/idempotency.ts';
import { assertVersion, updateLocked } from '../persistence/locked-update.ts';
import { assertNameAvailable, mapNameConflict } from '../persistence/project-scope.ts';
import { fromSnapshot, toSnapshot } from '../persistence/snapshot.ts';

const namePath = ['input', 'name'];
const credentialsPath = ['input', 'credentials'];

/**
 * Changes what is given and leaves the rest. New credentials are verified first, and replace the old ones only if
 * the app accepts them; a stored secret is never sent to a host that it was not given for.
 *
 * @param appId the id of the app; a connection to another app is not found
 * @param signal aborts when the caller hangs up, who then finds nothing changed that the app was asked about
 * @param selected the fields that the caller wants to be shown, by their paths
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `VERSION_CONFLICT`, `NAME_TAKEN`, `BAD_USER_INPUT` (a secret is missing, or
 *   the app's organisation would be another), or what the app's diagnosis says
 */
export async function updateConnection(
  deps: ConnectionDeps,
  caller: Caller,
  appId: string,
  id: string,
  input: UpdateConnection,
  signal?: AbortSignal,
  selected: FieldPaths = [],
): Promise<AppConnection> {
  const { idempotencyKey, ...asked } = input;
  const request = { update: id, ...asked };
  return withRefusalAudit(deps, caller, { action: 'UPDATE_CONNECTION', connectionId: id }, () => {
    caller.requireScope('connections:write');
    requireSelectable(caller, updatePayloadFields(requireApp(deps, appId), input), selected);
    const work = (keep: SaveOutcome) => applyUpdate(deps, caller, { app: appId, id }, input, keep, signal);
    return runIdempotent(deps, caller, { idempotencyKey, request }, work, fromSnapshot);
  });
}

async function applyUpdate(
  deps: ConnectionDeps,
  caller: Caller,
  where: { app: string; id: string },
  input: UpdateConnection,
  keep: SaveOutcome,
  signal: AbortSignal | undefined,
): Promise<AppConnection> {
  const em = deps.database.forOrganisation(caller.orgId);
  const before = await findConnection(em, caller, where, { withSecrets: true });
  const target = { id: where.id, version: input.version };
  assertVersion(before, target);
  const name = input.name ?? before.name;
  if (name !== before.name) await assertNameAvailable(deps.database, before, name, namePath);

  const { app, method } = resolveAppAndMethod(deps, before);
  const fresh = await mergeCredentials(deps, caller, before, input);
  const diagnosis =
    fresh &&
    (await verifyWithApp(
      await rateLimitedOutbound(deps, caller),
      { app, method },
      fresh.credentials,
      signal,
    ));
  if (diagnosis) assertVerified(diagnosis, method, credentialsPath);
  const whose = { app, method, orgId: before.orgId, connectionId: where.id };
  const columns = fresh &&
    diagnosis && {
      ...(await sealCredentials(deps, em, whose, fresh.credentials)),
      ...verificationColumns(diagnosis, new Date()),
    };

  return mapNameConflict(before, namePath, () =>
    updateLocked(deps, caller, {
      target,
      action: 'UPDATE_CONNECTION',
      apply: (connection) => {
        const isNamed = input.name != null && input.name !== connection.name;
        const isDescribed = input.description !== undefined && input.description !== connection.description;
        // Whoever has replaced the credentials meanwhile would find some of the old secrets back in place of theirs.
        if (fresh?.isMerged && connection.credentialsHash !== before.credentialsHash) {
          assertVersion(connection, { ...target, version: before.version });
        }
        Object.assign(connection, columns);
        if (input.name != null) connection.name = input.name;
        if (input.description !== undefined) connection.description = input.description;
        return [
          ...(isNamed ? ['name'] : []),
          ...(isDescribed ? ['description'] : []),
          ...(fresh?.fields ?? []).map((name) => `credentials.${name}`),
        ];
      },
      keep: async (tx, connection) => {
        if (fresh) await resealIfKeyRetired(deps, tx, [{ connection, credentials: fresh.credentials }]);
        await keep(tx, () => toSnapshot(connection));
      },
    }),
  );
}

const inCredentials = (name: string) => [...credentialsPath, name];

/** The names of what is in one and not, or not the same, in the other. */
function changedFields(before: Readonly<Record<string, unknown>>, after: Readonly<Record<string, unknown>>) {
  const names = Object.keys({ ...before, ...after });
  return names.filter((name) => before[name] !== after[name]);
}

/** Credentials as they would be. */
interface NewCredentials {
  credentials: Credentials;
  /** The names of the fields that change. */
  fields: string[];
  /** Whether some of the secrets are the stored ones. */
  isMerged: boolean;
}

/** The whole of the credentials as they would be, or undefined when they stay as they are. */
async function mergeCredentials(
  deps: ConnectionDeps,
  caller: Caller,
  before: AppConnection,
  input: UpdateConnection,
): Promise<NewCredentials | undefined> {
  const { app, method } = resolveAppAndMethod(deps, before);
  const foreign = foreignFields(method, input);
  const given = splitCredentials(method, input.credentials ?? {});
  const kept = <T>(values: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(values).filter(([name]) => !isCleared(method, input, name)));
  const shown = { ...kept(before.publicCredentials), ...given.public };
  const fields = [...Object.keys(given.secret), ...changedFields(before.publicCredentials, shown)];

  const secrets = Object.entries(method.fields).filter(([, { kind }]) => kind === 'SECRET');
  const missing = secrets.filter(([name]) => given.secret[name] === undefined);
  const isSameHost = getHost(method, shown) === getHost(method, before.publicCredentials);
  const needed = isSameHost ? [] : missing.filter(([, { required }]) => required).map(secretRequiredIssue);
  if (foreign.length > 0) throw validationError([...foreign, ...needed]);
  if (isSameHost) {
    if (fields.length === 0 && !secrets.some(([name]) => isCleared(method, input, name))) return undefined;
    if (missing.length === 0) {
      return { credentials: { public: shown, secret: given.secret }, fields, isMerged: false };
    }
    const { secret: stored } = await openCredentials(
      deps,
      deps.database.forOrganisation(before.orgId),
      before,
    );
    fields.push(...changedFields(stored, kept(stored)));
    const secret = { ...kept(stored), ...given.secret };
    return fields.length > 0 ? { credentials: { public: shown, secret }, fields, isMerged: true } : undefined;
  }
  assertHostAllowed(unmeteredOutbound(deps, caller), { app, method }, shown, credentialsPath);
  if (needed.length > 0) throw validationError(needed);
  if (!input.allowDifferentOrganisation) {
    await assertSameOrganisation(await rateLimitedOutbound(deps, caller), app, before, shown);
  }
  return { credentials: { public: shown, secret: given.secret }, fields, isMerged: false };
}

/** Whether a field is to be emptied; null for one that may not be left out is as good as absent. */
function isCleared(method: AuthMethod, { credentials }: UpdateConnection, name: string): boolean {
  return credentials?.[name] === null && method.fields[name]?.required === false;
}

function secretRequiredIssue([name, { label }]: [string, Field]): Issue {
  const message = `${label}: needed again for a new host. What is stored goes to no host that it was not given for.`;
  return { path: inCredentials(name), message };
}

/** An issue for each field that only another method of the app has. */
function foreignFields(method: AuthMethod, { credentials }: UpdateConnection): Issue[] {
  const others = Object.entries(credentials ?? {}).filter(
    ([name, value]) => value != null && !Object.hasOwn(method.fields, name),
  );
  const message = unknownFieldMessage(method);
  return others.map(([name]) => ({ path: inCredentials(name), message }));
}

async function assertSameOrganisation(
  outbound: Outbound,
  { name, moving }: App,
  before: AppConnection,
  shown: Credentials['public'],
): Promise<void> {
  if (!moving || (await moving.isSameOrganisation(before.publicCredentials, shown, outbound))) return;
  throw validationError([
    {
      path: ['input', moving.flag],
      message: `The new host is, or may be, another ${name} organisation. If that is what you want, set ${moving.flag} to true.`,
    },
  ]);
}
