import type { EntityManager } from '@mikro-orm/postgresql';
import type { App, AuthMethod, Credentials, FieldValue, VerificationResult } from '../../apps/app.ts';
import { hostNotAllowedError, ownOutboundError } from '../../apps/map-outbound-error.ts';
import { AppError, type ErrorCode } from '../../common/errors.ts';
import { Secret } from '../../common/secret.ts';
import type { SqlStatement } from '../../database/database.ts';
import type { EncryptionContext } from '../../encryption/vault.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';

/** Parts credentials into what may be shown and what may not. */
export function splitCredentials(
  method: AuthMethod,
  given: Readonly<Record<string, FieldValue>>,
): Credentials {
  const shown: Record<string, string> = {};
  const secret: Record<string, Secret> = {};
  for (const name of Object.keys(method.fields)) {
    const value = given[name];
    if (value instanceof Secret) secret[name] = value;
    else if (value != null) shown[name] = value;
  }
  return { public: shown, secret };
}

/** The name of the field that says where the app is, if the method has one. */
function findUrlField({ fields }: AuthMethod): string | undefined {
  return Object.keys(fields).find((name) => fields[name]?.kind === 'URL');
}

/** The host that the credentials are for: that of the method's URL field, or empty. */
export function getHost(method: AuthMethod, shown: Credentials['public']): string {
  const url = shown[findUrlField(method) ?? ''];
  return url ? new URL(url).host : '';
}

/**
 * Refuses what the app could not be asked at this moment, before anything is looked up, here or in the database.
 *
 * @param path of the credentials in the input
 * @throws AppError `HOST_NOT_ALLOWED`, or `UPSTREAM_UNREACHABLE` when too many are waiting already
 */
export function assertHostAllowed(
  outbound: Outbound,
  { app, method }: { app: App; method: AuthMethod },
  shown: Credentials['public'],
  path: readonly string[],
): void {
  const url = shown[findUrlField(method) ?? ''];
  if (!url) return;
  try {
    outbound.assertCanGet(new URL(url));
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    const refusal = hostNotAllowedError(error);
    throw refusal ? verificationError(refusal, method, path) : (ownOutboundError(error, app.name) ?? error);
  }
}

/** The columns in which a connection keeps its credentials. */
export async function sealCredentials(
  { vault }: ConnectionDeps,
  em: EntityManager,
  whose: { app: App; method: AuthMethod; orgId: string; connectionId: string },
  credentials: Credentials,
) {
  const { app, method, orgId, connectionId: id } = whose;
  const binding = encryptionContext(
    { id, orgId, app: app.id, publicCredentials: credentials.public },
    method,
  );
  const sealed = await vault.seal(em, binding, credentials.secret);
  return {
    publicCredentials: credentials.public,
    sealedCredentials: sealed.text,
    dataKeyId: sealed.dataKeyId,
    credentialsHash: await vault.mac(em, orgId, 'FINGERPRINT', {
      ...credentials.public,
      ...credentials.secret,
      app: app.id,
      method: method.id,
    }),
  };
}

/** What a transaction has stored, with the secrets that are sealed in it. */
type StoredCredentials = readonly { connection: AppConnection; credentials: Credentials }[];

/** What finds those of the data keys under which something is stored that are retired. */
export function findRetiredKeys({ vault }: ConnectionDeps, stored: StoredCredentials): SqlStatement {
  return vault.retiredAmong(stored.map(({ connection }) => connection.dataKeyId));
}

/**
 * Seals again what the transaction of `em` has just stored, if its data key was retired before that. Call it once it is
 * stored: as the row then refers to its data key, whoever seals again what is left under a retired key (see reseal.ts)
 * waits for this transaction to end, unless it sees here that the key is retired.
 *
 * @param found what `findRetiredKeys` has found by a later statement than the one that stored it, if it was run already
 */
export async function resealIfKeyRetired(
  deps: ConnectionDeps,
  em: EntityManager,
  stored: StoredCredentials,
  found?: readonly object[],
): Promise<void> {
  for (let left = stored, rows = found; left.length > 0; rows = undefined) {
    const { sql, params } = findRetiredKeys(deps, left);
    rows ??= await em.execute<object[]>(sql, [...params]);
    const retired = new Set((rows as { id: string }[]).map(({ id }) => id));
    left = left.filter(({ connection }) => retired.has(connection.dataKeyId));
    for (const { connection, credentials } of left) {
      deps.vault.forgetSealKey(connection.orgId);
      const binding = encryptionContext(connection, resolveAppAndMethod(deps, connection).method);
      const { text, dataKeyId } = await deps.vault.seal(em, binding, credentials.secret);
      const sealed = { sealedCredentials: text, dataKeyId };
      const macs = await deps.vault.rowMacs(em);
      const columns = { ...sealed, mac: macs.signed(em, AppConnection, { ...connection, ...sealed }).mac };
      await em.nativeUpdate(AppConnection, { id: connection.id }, columns);
      Object.assign(connection, columns);
    }
  }
}

/**
 * The credentials of a stored connection, secrets included; it has to be loaded with its secrets.
 *
 * @throws MacMismatch when the row is not as this server wrote it
 * @throws DecryptionError when they do not open
 */
export async function openCredentials(
  deps: Pick<ConnectionDeps, 'apps' | 'database' | 'vault'>,
  em: EntityManager,
  connection: AppConnection,
): Promise<Credentials> {
  const macs = await deps.vault.rowMacs(em);
  macs.verify(em, AppConnection, connection);
  const { id, orgId, credentialsHash, publicCredentials, sealedCredentials, dataKeyId } = connection;
  const binding = encryptionContext(connection, resolveAppAndMethod(deps, connection).method);
  const readAgain = async () => {
    // An EntityManager gives back the object that it has read before.
    const fresh = deps.database.forOrganisation(orgId);
    const populate = ['sealedCredentials', 'mac'] as const;
    const now = await fresh.findOne(AppConnection, { id, orgId, credentialsHash }, { populate });
    if (!now) return undefined;
    macs.verify(fresh, AppConnection, now);
    return { text: now.sealedCredentials, dataKeyId: now.dataKeyId };
  };
  const sealed = { text: sealedCredentials, dataKeyId };
  const secret = await deps.vault.open(em, binding, sealed, readAgain);
  return { public: publicCredentials, secret };
}

/** Where the credentials of a connection belong. */
export function encryptionContext(
  connection: Pick<AppConnection, 'id' | 'orgId' | 'app' | 'publicCredentials'>,
  method: AuthMethod,
): EncryptionContext {
  const { id: connectionId, orgId, app, publicCredentials } = connection;
  return { orgId, connectionId, app, method: method.id, host: getHost(method, publicCredentials) };
}

/** What a connection keeps of a diagnosis; `before` is what it kept until then of the same credentials. */
export function verificationColumns(
  diagnosis: VerificationResult,
  checkedAt: Date,
  before?: Pick<AppConnection, 'lastVerifiedAt' | 'failingSince' | 'account'>,
) {
  const isGood = diagnosis.status === 'VERIFIED';
  const failed = isGood ? null : diagnosis;
  return {
    verificationStatus: diagnosis.status,
    verificationCheckedAt: checkedAt,
    verificationCode: failed?.code ?? null,
    verificationMessage: failed?.message ?? null,
    verificationRemedy: failed?.remedy ?? null,
    upstreamRequestId: diagnosis.upstreamRequestId,
    lastVerifiedAt: isGood ? checkedAt : (before?.lastVerifiedAt ?? null),
    failingSince: isGood ? null : (before?.failingSince ?? checkedAt),
    account: isGood ? diagnosis.account : (before?.account ?? null),
  };
}

/**
 * Asks the app whether credentials work that are to be kept.
 *
 * @param signal aborts when the caller hangs up, who is not to find something changed that they gave up
 * @throws AppError `UPSTREAM_UNREACHABLE` when it has; only the audit trail hears of it
 */
export async function verifyWithApp(
  outbound: Outbound,
  { app, method }: { app: App; method: AuthMethod },
  credentials: Credentials,
  signal: AbortSignal | undefined,
): Promise<VerificationResult> {
  const diagnosis = await method.verify(credentials, outbound, signal).catch((error: unknown) => {
    throw signal?.aborted ? clientDisconnectedError(app) : error;
  });
  if (signal?.aborted) throw clientDisconnectedError(app);
  return diagnosis;
}

function clientDisconnectedError({ name }: App): AppError {
  return new AppError('UPSTREAM_UNREACHABLE', `The request was given up before ${name} had answered.`, {
    remedy: 'Send it again; nothing was changed.',
  });
}

/**
 * @param path of the credentials in the input
 * @throws AppError with what the app, or the lack of its answer, says about the credentials
 */
export function assertVerified(
  diagnosis: VerificationResult,
  method: AuthMethod,
  path: readonly string[],
): void {
  if (diagnosis.status !== 'VERIFIED') throw verificationError(diagnosis, method, path);
}

/** A host that is not allowed is the fault of one field, which is named. */
function verificationError(
  { code, message, remedy, retryAt }: { code: ErrorCode; message: string; remedy: string; retryAt?: Date },
  method: AuthMethod,
  path: readonly string[],
): AppError {
  const field = code === 'HOST_NOT_ALLOWED' && findUrlField(method);
  return new AppError(code, message, {
    remedy,
    ...(field && { issues: [{ path: [...path, field], message }] }),
    ...(retryAt && { retryAt }),
  });
}
