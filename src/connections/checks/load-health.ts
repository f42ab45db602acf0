import { createBatchLoader } from '../../database/batch-loader.ts';
import { sql } from '../../database/sql.ts';
import type { Caller } from '../../identity/caller.ts';
import type {
  AppConnection,
  CheckDelay,
  ExpiryReason,
  VerificationStatus,
} from '../app-connection.entity.ts';
import { isChecked } from '../check-interval.ts';
import { getHostOrigin } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import { HostOutage } from '../host-outage.entity.ts';

/** Whether a connection works, as its checks and verifications have found. */
export interface Health {
  status: VerificationStatus;
  /** Since when it has failed or its host has not answered; null if it works. */
  since: Date | null;
  lastCheckAt: Date | null;
  /** Null if no check is scheduled. */
  nextCheckAt: Date | null;
  lastGoodAt: Date | null;
  /** Null if no check that was due was postponed. */
  checkDelay: CheckDelay | null;
  /** When the credentials end, as far as it is known. */
  expiresAt: Date | null;
  expiryReason: ExpiryReason | null;
}

const loaders = new WeakMap<Caller, (origin: string) => Promise<HostOutage | undefined>>();

/** Reads the health of a connection. The outages that are asked for in the same event-loop turn share a statement. */
export async function loadHealth(
  deps: ConnectionDeps,
  caller: Caller,
  connection: AppConnection,
): Promise<Health> {
  const outage = await outageLoader(deps, caller)(getHostOrigin(deps, connection));
  const { verificationStatus: status, verificationCheckedAt, lastVerifiedAt, failingSince } = connection;
  const isScheduled = isChecked(connection);
  const own = {
    status,
    since: failingSince ?? null,
    lastCheckAt: verificationCheckedAt ?? null,
    nextCheckAt: isScheduled ? (connection.nextCheckAt ?? null) : null,
    lastGoodAt: lastVerifiedAt ?? null,
    checkDelay: isScheduled ? (connection.checkDelay ?? null) : null,
    expiresAt: connection.expiresAt ?? null,
    expiryReason: connection.expiryReason ?? null,
  };
  // Rejected credentials stay rejected, and an outage before the last verification is over.
  if (!outage || !isScheduled || own.lastCheckAt === null || outage.checkedAt <= own.lastCheckAt) return own;
  return {
    ...own,
    status: 'UNREACHABLE',
    since: own.since ?? outage.since,
    lastCheckAt: outage.checkedAt,
    nextCheckAt: outage.nextCheckAt,
    // The host was checked since.
    checkDelay: null,
  };
}

/** Reads the outage of a host, if it does not answer. */
export function outageLoader({ database }: ConnectionDeps, caller: Caller) {
  const cached = loaders.get(caller);
  if (cached) return cached;
  const { orgId } = caller;
  const loader = createBatchLoader(async (origins: readonly string[]) => {
    const found = await database.select(
      HostOutage,
      orgId,
      sql`where org_id = ${orgId} and origin = any(${[...new Set(origins)]}::text[])`,
    );
    const outages = new Map(found.map((outage) => [outage.origin, outage]));
    return origins.map((origin) => outages.get(origin));
  });
  loaders.set(caller, loader);
  return loader;
}
