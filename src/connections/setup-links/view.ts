import type { App, AuthMethod } from '../../apps/app.ts';
import type { Field } from '../../apps/credentials.ts';
import type { Caller } from '../../identity/caller.ts';
import { Organisation } from '../../identity/organisation.entity.ts';
import type { AppConnection, ConnectionKey } from '../app-connection.entity.ts';
import { toConverted } from '../credentials/conversion.ts';
import { describeKeys, getJwksUrl, isUntried } from '../credentials/keys.ts';
import { getDeferrableFields, listAwaitedFields } from '../deferrable-fields.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';

/** What a setup link shows of its connection: what the person who administers the app needs, and nothing else. */
export interface SetupView {
  /** The name of the organisation that asks. */
  organisation: string;
  app: App;
  method: AuthMethod;
  connection: AppConnection;
  /** The fields that this person gives, by name. Empty: there is nothing to enter, only something to do in the app. */
  fields: Readonly<Record<string, Field>>;
  /** The URL of the public keys; null if the method has no keys. */
  jwksUrl: string | null;
  /** The public keys that the app has to know. */
  keys: readonly ConnectionKey[];
  expiresAt: Date;
}

/** Builds the view of the connection of a setup link, as its pending conversion will leave it. */
export async function buildSetupView(
  deps: ConnectionDeps,
  caller: Caller,
  current: AppConnection,
): Promise<SetupView> {
  const stored = toConverted(deps, current) ?? current;
  const connection = hidesRemedy(deps, stored) ? { ...stored, verificationRemedy: null } : stored;
  const { app, method } = resolveAppAndMethod(deps, connection);
  const { orgId, expiresAt } = caller;
  const { name } = await deps.database.forOrganisation(orgId).findOneOrFail(Organisation, { id: orgId });
  return {
    organisation: name,
    app,
    method,
    connection,
    fields: getSetupFields(method, connection),
    jwksUrl: method.managedKeys ? getJwksUrl(deps, connection) : null,
    keys: describeKeys(connection).filter(({ state }) => state !== 'RETIRED'),
    expiresAt: expiresAt ?? new Date(Number.NaN),
  };
}

/** What a connection waits for is what the page asks for, so the page does not say how else to give it. */
function hidesRemedy(deps: ConnectionDeps, connection: AppConnection): boolean {
  const { method } = resolveAppAndMethod(deps, connection);
  return listAwaitedFields(method, connection.publicCredentials).length > 0;
}

/** The secrets without which a method does not work. A setup link can replace them. */
export function getSecretFields({ fields }: AuthMethod): Readonly<Record<string, Field>> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, { kind, required }]) => kind === 'SECRET' && required),
  );
}

/**
 * The fields that a setup link may set: secrets, and until the app has accepted the connection for the first time, what the person
 * who administers the app knows best.
 *
 * @param connection as its pending conversion will leave it
 */
export function getSetupFields(
  method: AuthMethod,
  connection: AppConnection,
): Readonly<Record<string, Field>> {
  return { ...getSecretFields(method), ...(isUntried(connection) && getDeferrableFields(method)) };
}
