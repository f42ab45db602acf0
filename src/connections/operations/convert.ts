import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import { withRefusalAudit } from '../../audit/record-refusals.ts';
import { canonicalJson } from '../../common/canonical-json.ts';
import { currentTime } from '../../common/clock.ts';
import { validationError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { type ConvertConnection, findConversionMethod } from '../convert-input.ts';
import {
  getConversionSecrets,
  getUrl,
  noConversion,
  replaceConversionSecrets,
} from '../credentials/conversion.ts';
import { isOtherClient, leaveKeys } from '../credentials/former-keys.ts';
import { retireKeys } from '../credentials/key-states.ts';
import { type KeyColumns, needsKeyPair, prepareKeys } from '../credentials/keys.ts';
import { addRevocation, assertRevocable } from '../credentials/revocation.ts';
import {
  assertSameCredentials,
  openCredentials,
  retryIfReplaced,
  type StoredCredentials,
  sealCredentials,
} from '../credentials/seal.ts';
import { splitCredentials } from '../credentials/split.ts';
import { verifyNewCredentials } from '../credentials/verify.ts';
import { type ConnectionDeps, requireApp, resolveAppAndMethod } from '../deps.ts';
import { withoutNextPrivateKey } from '../managed-keys/next-private-key.ts';
import { removalTime } from '../managed-keys/rotation-schedule.ts';
import { convertPayloadFields, type FieldPaths, requireSelectable } from '../payload-authorization.ts';
import { assertVersion, changeConnection, type PrepareAlongside } from '../persistence/change-connection.ts';
import { findConnection } from '../persistence/find-connection.ts';
import { type BuildOutcome, runIdempotent } from '../persistence/idempotency.ts';
import { fromSnapshot, toSnapshot } from '../persistence/snapshot.ts';
import { assertUseAcknowledged } from '../usage/acknowledge-use.ts';

const action = 'CONVERT_CONNECTION';

/** Options of a conversion. */
export interface ConvertOptions {
  /** Aborts when the client disconnects; if the app is being called then, nothing is changed. */
  signal?: AbortSignal | undefined;
  /** The paths of the fields that the client selects. */
  selected?: FieldPaths;
  /** What is stored with the conversion. */
  alongside?: PrepareAlongside;
}

/** The credentials that a conversion replaces. */
interface Replaced {
  before: AppConnection;
  stored: StoredCredentials;
  /** Whether they are revoked then. */
  isRevoked: boolean;
}

/** What a conversion changes. */
interface Conversion {
  columns: Partial<AppConnection>;
  credentials: StoredCredentials;
  /** The names of the changed fields; none if nothing changes. */
  fields: string[];
}

/**
 * Converts a connection to the method `App.convertsTo`. With a private key of the caller, the new credentials are verified, and
 * replace the old ones if the app accepts them. Without one, this server makes the key pair, and the conversion is pending: the
 * old credentials stay in use until a verification finds that the app accepts the new ones. Another conversion meanwhile changes
 * the public credentials of the pending one, and keeps its key. Another method for a connection that is in use has to be
 * acknowledged.
 *
 * @param target `app`: the id of an app; a connection to another app is not found
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `VERSION_CONFLICT`, `BAD_USER_INPUT` (an unusable private key, or a connection that
 *   has such a key already), `IDEMPOTENCY_CONFLICT`, `CONNECTION_IN_USE`, `RATE_LIMITED`, or the error with which the app
 *   rejects the credentials
 */
export async function convertConnection(
  deps: ConnectionDeps,
  caller: Caller,
  target: { app: string; id: string },
  { idempotencyKey, ...input }: ConvertConnection,
  { signal, selected = [], alongside }: ConvertOptions = {},
): Promise<AppConnection> {
  const { id } = target;
  return withRefusalAudit(deps, caller, { action, connectionId: id }, () => {
    caller.requireScope('connections:write');
    const app = requireApp(deps, target.app);
    const method = findConversionMethod(app);
    if (!method) throw new TypeError(`Connections to ${app.id} cannot be converted.`);
    requireSelectable(caller, convertPayloadFields(input), selected);

    const idempotency = { idempotencyKey, request: { convert: id, ...input } };
    const convert = (buildOutcome: BuildOutcome) =>
      prepareAndChange(deps, caller, { target, app, method, input, signal, alongside, buildOutcome });
    const convertStored = (buildOutcome: BuildOutcome) => retryIfReplaced(() => convert(buildOutcome));
    return runIdempotent(deps, caller, idempotency, convertStored, fromSnapshot);
  });
}

interface ConvertRequest extends Pick<ConvertOptions, 'signal' | 'alongside'> {
  target: { app: string; id: string };
  app: App;
  /** The method to which the connection is converted. */
  method: AuthMethod;
  input: Omit<ConvertConnection, 'idempotencyKey'>;
  buildOutcome: BuildOutcome;
}

async function prepareAndChange(
  deps: ConnectionDeps,
  caller: Caller,
  { target, app, method, input, signal, alongside, buildOutcome }: ConvertRequest,
): Promise<AppConnection> {
  const { id } = target;
  const em = deps.database.forOrganisation(caller.orgId);
  const before = await findConnection(em, caller, target, { withSecrets: true });
  const expected = { id, version: input.version };
  assertVersion(before, expected);
  const given = splitCredentials(method, input.to);
  const isManaged = needsKeyPair(method, given);
  assertConvertible(before, method, isManaged);
  if (before.method !== method.id) await assertUseAcknowledged(deps, caller, id, input.acknowledgeUse);

  const stored = await openCredentials(deps, em, before);
  const isRevoked = input.revokeOldToken === true;
  if (isRevoked) await assertRevocable(deps, before, resolveAppAndMethod(deps, before).method, { stored });
  const replaced = { before, stored, isRevoked };
  const converted = { public: { ...given.public, ...getUrl(method, before) }, secret: given.secret };
  const change = isManaged
    ? await prepareConversion(deps, replaced, method, converted)
    : await completeConversion(deps, caller, replaced, { app, method }, converted, signal);
  return changeConnection(deps, caller, {
    target: expected,
    action,
    apply: (connection) => {
      assertSameCredentials(connection, before);
      Object.assign(connection, change.columns);
      return change.fields;
    },
    credentials: change.credentials,
    alongside,
    buildOutcome: (connection) => buildOutcome(() => toSnapshot(connection)),
  });
}

/** @throws AppError `BAD_USER_INPUT` if the connection has such credentials already */
function assertConvertible(before: AppConnection, { id, label }: AuthMethod, isManaged: boolean): void {
  if (before.method !== id || before.isPlatformManagedCredentials !== isManaged) return;
  const whose = isManaged ? 'a key that this server made' : 'a private key of your own';
  const message = `This connection has the method “${label}” with ${whose} already. To change its credentials, update it.`;
  throw validationError([{ path: ['to'], message }]);
}

/** Makes the key pair, which is not used before the app has accepted it. */
async function prepareConversion(
  deps: ConnectionDeps,
  { before, stored, isRevoked }: Replaced,
  method: AuthMethod,
  given: Credentials,
): Promise<Conversion> {
  const made = await prepareKeys(method, given, ['to']);
  const pending = before.conversion;
  const secrets = pending ? getConversionSecrets(stored) : made.credentials.secret;
  const url = Object.keys(getUrl(method, before));
  const shown = Object.entries(given.public).filter(([name]) => !url.includes(name));
  const conversion = {
    method: method.id,
    publicCredentials: Object.fromEntries(shown),
    keys: pending?.keys ?? made.columns.keys ?? [],
    startedAt: pending?.startedAt ?? currentTime().toISOString(),
    ...(isRevoked && { revokeOldToken: true }),
  };
  const isSame = canonicalJson({ of: pending }) === canonicalJson({ of: conversion });
  const credentials = { ...stored, inactive: replaceConversionSecrets(stored, secrets) };
  const owner = { ...resolveAppAndMethod(deps, before), orgId: before.orgId, connectionId: before.id };
  const sealed = await sealCredentials(deps, owner, credentials);
  return {
    columns: { ...sealed, conversion, conversionVerification: null },
    credentials,
    fields: isSame ? [] : ['conversion'],
  };
}

/** Verifies credentials with a private key of the caller. */
async function completeConversion(
  deps: ConnectionDeps,
  caller: Caller,
  { before, stored, isRevoked }: Replaced,
  { app, method }: { app: App; method: AuthMethod },
  given: Credentials,
  signal: AbortSignal | undefined,
): Promise<Conversion> {
  const prepared = await prepareKeys(method, given, ['to']);
  const options = { signal, connection: before };
  const verification = await verifyNewCredentials(
    deps,
    caller,
    { app, method },
    prepared.credentials,
    options,
  );
  const { method: old } = resolveAppAndMethod(deps, before);
  const replaced = isRevoked
    ? addRevocation(before, stored)
    : leaveKeys(old, before, stored, prepared.credentials.public);
  // A rotation that waits for the app ends with the key that it replaces.
  const inactive = withoutNextPrivateKey(replaceConversionSecrets({ ...stored, ...replaced }));
  const credentials = { ...prepared.credentials, inactive };
  const owner = { app, method, orgId: before.orgId, connectionId: before.id };
  const sealed = await sealCredentials(deps, owner, credentials);
  const columns = {
    ...{ method: method.id, keyRegistrationFailure: null },
    ...{ ...prepared.columns, ...verification, ...sealed, ...noConversion, ...replaced?.columns },
    ...keepKeysToRemove(before, method, prepared),
  };
  return { columns, credentials, fields: listConvertedFields(before, method, prepared.credentials) };
}

/** Keeps the keys of the server that a key of the caller replaces until they are removed at the app, if the credentials may do that. */
function keepKeysToRemove(
  before: AppConnection,
  method: AuthMethod,
  { credentials, columns }: { credentials: Credentials; columns: KeyColumns },
): Partial<AppConnection> {
  const isPossible = before.method === method.id && method.managedKeys?.mayRegister?.(credentials);
  if (!isPossible || !before.isPlatformManagedCredentials) return {};
  if (isOtherClient(method, before, credentials.public)) return {};
  const now = currentTime();
  return {
    keys: [...retireKeys(before, now), ...(columns.keys ?? [])],
    keysDueAt: removalTime({ retiredAt: now.toISOString() }),
  };
}

/** Returns the names of the fields that a completed conversion changes. */
export function listConvertedFields(
  before: AppConnection,
  { id }: AuthMethod,
  credentials: Credentials,
): string[] {
  const changed = Object.entries({ ...credentials.public, ...credentials.secret })
    .filter(([name, value]) => before.publicCredentials[name] !== value)
    .map(([name]) => `credentials.${name}`);
  return [...(before.method === id ? [] : ['method']), ...changed];
}
