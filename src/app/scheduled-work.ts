import type { Config } from '../config/config.ts';
import { connectionChecks } from '../connections/checks/connection-checks.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { expiryWarnings } from '../connections/forecasts/expiry-warnings.ts';
import { keyRotations } from '../connections/managed-keys/key-rotations.ts';
import { revocations } from '../connections/revocations/revocations.ts';
import type { ScheduledWork } from '../jobs/schedule.ts';

/** How often a server looks for work that is due, in milliseconds. An absent one: never. */
export interface WorkIntervals {
  /** For connections that are due for a check. */
  checkIntervalMs?: number | undefined;
  /** For replaced credentials to revoke. */
  revocationIntervalMs?: number | undefined;
  /** For keys of connections to rotate. */
  keyRotationIntervalMs?: number | undefined;
  /** For connections whose credentials end. */
  expiryIntervalMs?: number | undefined;
  /** For audit events to stream. */
  streamIntervalMs?: number | undefined;
}

/** Returns the work on connections that a server does on a schedule. */
export function listScheduledWork(
  connections: ConnectionDeps,
  { connectionKeyRotationDays }: Pick<Config, 'connectionKeyRotationDays'>,
  { checkIntervalMs, revocationIntervalMs, keyRotationIntervalMs, expiryIntervalMs }: WorkIntervals,
): ScheduledWork[] {
  return [
    ...(checkIntervalMs ? [connectionChecks(connections, checkIntervalMs)] : []),
    ...(revocationIntervalMs ? [revocations(connections, revocationIntervalMs)] : []),
    ...(keyRotationIntervalMs
      ? [keyRotations(connections, connectionKeyRotationDays, keyRotationIntervalMs)]
      : []),
    ...(expiryIntervalMs ? [expiryWarnings(connections, connectionKeyRotationDays, expiryIntervalMs)] : []),
  ];
}
