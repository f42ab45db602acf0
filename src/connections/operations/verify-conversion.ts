import type { VerificationResult } from '../../apps/credentials.ts';
import { storeWithEvents } from '../../audit/audited-change.ts';
import { withRequestContext } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { updateRow } from '../../database/row-statements.ts';
import type { Caller } from '../../identity/caller.ts';
import { AppConnection } from '../app-connection.entity.ts';
import {
  getConversionSecrets,
  noConversion,
  replaceConversionSecrets,
  toConversionVerification,
  toConverted,
} from '../credentials/conversion.ts';
import { isOtherClient, leaveKeys } from '../credentials/former-keys.ts';
import { listRetiredKeys } from '../credentials/key-states.ts';
import { addRevocation } from '../credentials/revocation.ts';
import { assertSameCredentials, type StoredCredentials, sealCredentials } from '../credentials/seal.ts';
import { verificationColumns, verifyCredentials } from '../credentials/verify.ts';
import { listAwaitedFields } from '../deferrable-fields.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { changeConnection, type PrepareAlongside } from '../persistence/change-connection.ts';
import { listConvertedFields } from './convert.ts';

const action = 'CONVERT_CONNECTION';

/**
 * Verifies the credentials of the pending conversion of a connection, if there is one. If the app accepts them, they replace the
 * credentials of the connection.
 *
 * @param stored the opened credentials of `before`
 * @param options `ifVerified`: what is stored with the completed conversion
 * @returns whether they have replaced them
 * @throws CredentialsReplaced if others were stored meanwhile
 */
export async function verifyConversion(
  deps: ConnectionDeps,
  caller: Caller,
  before: AppConnection,
  stored: StoredCredentials,
  { signal, ifVerified }: { signal?: AbortSignal | undefined; ifVerified?: PrepareAlongside | undefined },
): Promise<boolean> {
  const converted = toConverted(deps, before);
  if (!converted) return false;
  const { id, orgId, publicCredentials } = converted;
  const { app, method } = resolveAppAndMethod(deps, converted);
  if (listAwaitedFields(method, publicCredentials).length > 0) return false;
  const pending = { public: publicCredentials, secret: getConversionSecrets(stored) };
  const options = { signal, connection: before };
  const result = await verifyCredentials(deps, caller, { app, method }, pending, options);
  if (result.status !== 'VERIFIED') {
    await storeRefusal(deps, caller, before, result);
    return false;
  }
  const { method: old } = resolveAppAndMethod(deps, before);
  const replaced = before.conversion?.revokeOldToken
    ? addRevocation(before, stored)
    : leaveKeys(old, before, stored, publicCredentials);
  const credentials = { ...pending, inactive: replaceConversionSecrets({ ...stored, ...replaced }) };
  const { isPlatformManagedCredentials } = converted;
  const retired = isOtherClient(old, before, publicCredentials) ? [] : listRetiredKeys(before);
  const keys = [...retired, ...(converted.keys ?? [])];
  const columns = {
    ...{ method: method.id, keyRegistrationFailure: null },
    ...{ keys, isPlatformManagedCredentials },
    ...verificationColumns(method, result, currentTime()),
    ...(await sealCredentials(deps, { app, method, orgId, connectionId: id }, credentials)),
    ...noConversion,
    ...replaced?.columns,
  };
  await changeConnection(deps, caller, {
    target: { id },
    action,
    apply: (connection) => {
      assertSameCredentials(connection, before);
      Object.assign(connection, columns);
      return listConvertedFields(before, method, pending);
    },
    credentials,
    alongside: ifVerified,
  });
  return true;
}

/**
 * Stores that the app has not accepted the credentials of a pending conversion. The result of verifying the credentials in use is
 * stored in another statement, because PostgreSQL applies only one of two updates of a row in a statement.
 */
async function storeRefusal(
  deps: ConnectionDeps,
  caller: Caller,
  before: AppConnection,
  result: Exclude<VerificationResult, { status: 'VERIFIED' }>,
): Promise<void> {
  const { id, orgId, name: connectionName, projectId } = before;
  const attempt = { ...caller.actor, action, connectionId: id, connectionName, projectId } as const;
  const event = withRequestContext({ ...attempt, outcome: result.code, fields: ['conversion'] });
  const conversionVerification = toConversionVerification(result, before.conversionVerification);
  await storeWithEvents(deps, orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em) => {
      const changed = { ...before, conversionVerification };
      const { sql, params } = updateRow(em, AppConnection, changed, ['conversionVerification']);
      // The result is about these credentials.
      const update = {
        sql: `${sql} and conversion = ?::jsonb`,
        params: [...params, JSON.stringify(before.conversion)],
      };
      return { events: [event], updates: [update], result: undefined };
    },
  });
}
