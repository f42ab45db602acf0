import type { ErrorCode } from '../../common/errors.ts';
import { createBatchLoader } from '../../database/batch-loader.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection, VerificationStatus } from '../app-connection.entity.ts';
import { isChecked } from '../check-interval.ts';
import { getHostOrigin } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { HostOutage } from '../host-outage.entity.ts';
import { historyStart } from './delete-old-history.ts';
import { outageLoader } from './load-health.ts';
import { PastOutage, PastStatus } from './status-history.entity.ts';

/** A time in which a connection had the same status. */
export interface StatusPeriod {
  /** Inclusive; null if it is not known. */
  from: Date | null;
  /** Exclusive; null if it still has this status. */
  until: Date | null;
  status: VerificationStatus;
  /** The last reason; null if the connection worked. */
  code: ErrorCode | null;
  /** Whether its host did not answer any connection. */
  isHostOutage: boolean;
}

interface HistoryLoader {
  statuses(connectionId: string): Promise<PastStatus[]>;
  outages(origin: string): Promise<PastOutage[]>;
}

const loaders = new WeakMap<Caller, HistoryLoader>();

/**
 * Reads the last statuses of a connection, the newest first. Outages of its host are stored once for all connections to it, and
 * put in here. What is asked for in the same event-loop turn shares a statement.
 */
export async function loadHistory(
  deps: ConnectionDeps,
  caller: Caller,
  connection: AppConnection,
  first: number,
): Promise<StatusPeriod[]> {
  const origin = getHostOrigin(deps, connection);
  const loader = historyLoader(deps, caller);
  const [past, pastOutages, outage] = await Promise.all([
    loader.statuses(connection.id),
    loader.outages(origin),
    outageLoader(deps, caller)(origin),
  ]);
  const outages = [...(outage ? [toPeriod(outage, connection)] : []), ...pastOutages].map(
    ({ since, until, code }) => ({ from: later(since, connection.createdAt), until, code: code ?? null }),
  );
  const own = past.map(
    ({ since, until, status, code }): StatusPeriod => ({
      ...{ from: since ?? null, until, status, code: code ?? null, isHostOutage: false },
    }),
  );
  const { statusSince, failingSince, verificationStatus, verificationCode } = connection;
  // A connection that was changed by this request has the old time.
  const from = later(past[0]?.until ?? null, statusSince ?? failingSince ?? null);
  const current = { status: verificationStatus, code: verificationCode ?? null, isHostOutage: false };
  return [{ ...current, from, until: null }, ...own]
    .flatMap((period) => withOutages(period, outages, connection))
    .slice(0, first);
}

type Outage = Pick<StatusPeriod, 'until' | 'code'> & { from: Date };

/** Splits a period at outages of the host, the newest first. An outage says nothing about credentials that were rejected before. */
function withOutages(
  period: StatusPeriod,
  outages: readonly Outage[],
  { checkEvery }: AppConnection,
): StatusPeriod[] {
  const { status, code } = period;
  if (!isChecked({ checkEvery, verificationStatus: status, verificationCode: code })) return [period];
  const parts: StatusPeriod[] = [];
  let until = period.until;
  for (const outage of outages) {
    const start = later(outage.from, period.from) ?? outage.from;
    const end = earlier(outage.until, until);
    if ((end && end <= start) || (until && until <= start)) continue;
    if (end !== until) parts.push({ ...period, from: end, until });
    parts.push({ from: start, until: end, status: 'UNREACHABLE', code: outage.code, isHostOutage: true });
    until = start;
  }
  const isCovered = until !== null && period.from !== null && until <= period.from;
  return isCovered ? parts : [...parts, { ...period, until }];
}

/** An outage that has not ended. For a connection that was verified since, it is over. */
function toPeriod(outage: HostOutage, { verificationCheckedAt: checkedAt }: AppConnection) {
  const isOver = checkedAt != null && outage.checkedAt <= checkedAt;
  return { ...outage, until: isOver ? checkedAt : null };
}

function later<Other extends Date | null>(one: Date | null, other: Other): Date | Other {
  return one && (!other || one > other) ? one : other;
}

/** Null is later than every time. */
function earlier(one: Date | null, other: Date | null): Date | null {
  return one && (!other || one < other) ? one : other;
}

function historyLoader({ database }: ConnectionDeps, caller: Caller): HistoryLoader {
  const cached = loaders.get(caller);
  if (cached) return cached;
  const { orgId } = caller;
  const statuses = createBatchLoader(async (ids) => {
    const found = await database.select(
      PastStatus,
      orgId,
      sql`where org_id = ${orgId} and connection_id = any(${[...new Set(ids)]}::uuid[]) and until >= ${historyStart()}
        order by until desc`,
    );
    const byId = Map.groupBy(found, ({ connectionId }) => connectionId);
    return ids.map((id) => byId.get(id) ?? []);
  });
  const outages = createBatchLoader(async (origins) => {
    const found = await database.select(
      PastOutage,
      orgId,
      sql`where org_id = ${orgId} and origin = any(${[...new Set(origins)]}::text[]) and until >= ${historyStart()}
        order by until desc`,
    );
    const byOrigin = Map.groupBy(found, ({ origin }) => origin);
    return origins.map((origin) => byOrigin.get(origin) ?? []);
  });
  const loader = { statuses, outages };
  loaders.set(caller, loader);
  return loader;
}
