import type { EntityManager } from '@mikro-orm/postgresql';
import { storeWithEvents } from '../../audit/audited-change.ts';
import { type RecordedEvent, serverActor } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { updateRow } from '../../database/row-statements.ts';
import { AppConnection } from '../app-connection.entity.ts';
import { isRejected } from '../check-interval.ts';
import {
  type ExpiryColumns,
  forecastExpiry,
  nextWarning,
  noExpiry,
  pickExpiry,
} from '../credentials/expiry.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { toExpiryTarget } from '../expiry-target.ts';

/** A connection whose warning is not due any more. */
interface Postponed {
  connection: AppConnection;
  known: ExpiryColumns;
}

const columns = ['expiresAt', 'expiryReason', 'expiryWarningAt'] as const;

/**
 * Warns that the credentials of a connection end soon, or have ended: with an audit event that is stored together with the time
 * of the next warning. So each warning is given once, by one server. Credentials that were used since end later.
 */
export async function warnOfExpiry(
  deps: ConnectionDeps,
  { orgId, id }: { orgId: string; id: string },
): Promise<void> {
  const postponed = await storeWithEvents<Postponed | undefined>(deps, orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em) => {
      const connection = await em.findOne(AppConnection, { id, orgId, deletedAt: null });
      const now = currentTime();
      if (!connection || !isDue(connection, now)) return { events: [], result: undefined };
      const known = await forecastAgain(deps, em, connection, now);
      if (!isDue(known, now)) return { events: [], result: { connection, known } };
      const next = { ...known, expiryWarningAt: nextWarning(known.expiresAt, now) };
      const { sql, params } = updateRow(em, AppConnection, { ...connection, ...next }, columns);
      const update = {
        sql: `${sql} and expiry_warning_at = ?`,
        params: [...params, connection.expiryWarningAt],
      };
      return { events: [toEvent(connection, known, now)], updates: [update], result: undefined };
    },
  });
  if (!postponed) return;
  const { connection, known } = postponed;
  const { expiryWarningAt } = connection;
  await deps.database
    .forOrganisation(orgId)
    .nativeUpdate(AppConnection, { id, orgId, expiryWarningAt }, known);
}

function isDue({ expiryWarningAt }: Pick<ExpiryColumns, 'expiryWarningAt'>, now: Date): boolean {
  return expiryWarningAt != null && expiryWarningAt <= now;
}

/** Looks at the uses of a connection, which do not write its row. */
async function forecastAgain(
  deps: ConnectionDeps,
  em: EntityManager,
  connection: AppConnection,
  now: Date,
): Promise<ExpiryColumns> {
  const { account, verificationDetails: details, lastVerifiedAt } = connection;
  const { method } = resolveAppAndMethod(deps, connection);
  // The connections of earlier versions have no reason yet.
  if (!method.forecast) return connection.expiryReason ? pickExpiry(connection) : noExpiry;
  if (!lastVerifiedAt || isRejected(connection)) return noExpiry;
  const lastUse = await findLastUse(em, connection);
  const usedAt = lastUse && lastUse > lastVerifiedAt ? lastUse : lastVerifiedAt;
  return forecastExpiry(method, { usedAt, account, details }, now, connection);
}

/** Finds the hour of the last request through a connection that the app has accepted. */
async function findLastUse(em: EntityManager, { id, orgId }: AppConnection): Promise<Date | undefined> {
  const [row] = await em.execute<{ hour: Date | string | null }[]>(
    `select max(hour) as hour from connection_usage
      where org_id = ? and connection_id = ? and outcome = 'OK' and status_class = 2`,
    [orgId, id],
  );
  return row?.hour == null ? undefined : new Date(row.hour);
}

function toEvent(connection: AppConnection, { expiresAt, expiryReason }: ExpiryColumns, now: Date) {
  const { id: connectionId, orgId, name: connectionName, projectId } = connection;
  const isOver = expiresAt != null && expiresAt <= now;
  return {
    ...{
      orgId,
      action: isOver ? 'EXPIRE_CONNECTION' : 'WARN_OF_EXPIRY',
      connectionId,
      connectionName,
      projectId,
    },
    ...serverActor,
    outcome: 'OK',
    fields: [expiresAt ? 'health.expiresAt' : 'health.expiryReason'],
    targetName: toExpiryTarget(expiryReason, expiresAt),
  } satisfies RecordedEvent;
}
