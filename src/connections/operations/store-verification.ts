import type { VerificationResult } from '../../apps/credentials.ts';
import { storeWithEvents } from '../../audit/audited-change.ts';
import type { RecordedEvent } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { typedKeys } from '../../common/typed-keys.ts';
import { updateRow } from '../../database/row-statements.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { clearedFailure, omitUnchanged, verificationColumns } from '../credentials/verify.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import type { PrepareAlongside } from '../persistence/change-connection.ts';

/**
 * Stores the result of verifying the credentials of a connection, with its audit event. The version stays the same.
 *
 * If the connection was deleted or got other credentials meanwhile, the result is not stored. The event of a caller's verification
 * then has no changed field, because one would make a webhook report that the connection has failed.
 *
 * @param before the connection as it was read before its credentials were verified
 * @param options `alongside`: what is stored with the result; `nextCheckAt`: the next check, or absent if the schedule of checks
 *   begins again
 */
export async function storeVerification(
  deps: ConnectionDeps,
  before: AppConnection,
  result: VerificationResult,
  event: RecordedEvent,
  {
    alongside,
    nextCheckAt = null,
  }: { alongside?: PrepareAlongside | undefined; nextCheckAt?: Date | null } = {},
): Promise<void> {
  const { id, orgId } = before;
  const { method } = resolveAppAndMethod(deps, before);
  const columns = { ...verificationColumns(method, result, currentTime(), before), nextCheckAt };
  const changed = typedKeys(omitUnchanged(columns, before));
  const fields = [...(event.fields ?? []), ...clearedFailure(before, columns)];
  const recorded = { ...event, fields };
  await storeWithEvents(deps, orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em) => {
      const { credentialsHash } = before;
      if ((await em.count(AppConnection, { id, orgId, credentialsHash, deletedAt: null })) === 0)
        return {
          events: event.action === 'CHECK_CONNECTION' ? [] : [{ ...event, fields: [] }],
          result: undefined,
        };
      const { sql, params } = updateRow(em, AppConnection, { ...before, ...columns }, changed);
      // The result is about these credentials; credentials that have replaced them since were verified themselves.
      const update = { sql: `${sql} and credentials_hash = ?`, params: [...params, credentialsHash] };
      const { events: further = [], updates = [] } = (await alongside?.(em, before)) ?? {};
      return { events: [recorded, ...further], updates: [update, ...updates], result: undefined };
    },
  });
}
