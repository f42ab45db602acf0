import { storeWithEvents } from '../../audit/audited-change.ts';
import { type AuditEventInput, withRequestContext } from '../../audit/hash-chain.ts';
import { formatUse } from '../../audit/recorded-use.ts';
import { safeErrorFields } from '../../common/log.ts';
import type { Caller } from '../../identity/caller.ts';
import type { ConnectionDeps } from '../deps.ts';
import type { OpenedConnection } from './opened-connections.ts';

/** A write through a connection: its status, or the code of the error that it failed with. */
export type RecordedWrite = {
  method: string;
  path: string;
  query: string;
} & ({ status: number } | { outcome: AuditEventInput['outcome'] });

/** Stores the audit event of a write through a connection. */
export async function recordWrite(
  deps: ConnectionDeps,
  caller: Caller,
  opened: OpenedConnection,
  write: RecordedWrite,
): Promise<void> {
  const outcome = 'outcome' in write ? write.outcome : 'OK';
  const targetName = formatUse(write, (text) => opened.mask.maskText(text));
  const event = withRequestContext({ ...describe(caller, opened), targetName, outcome });
  const prepare = async () => ({ events: [event], result: undefined });
  await storeWithEvents(deps, caller.orgId, { prepare });
}

/** Counts a read through a connection. */
export function countRead(deps: ConnectionDeps, caller: Caller, opened: OpenedConnection): void {
  deps.reads.record({ ...describe(caller, opened), outcome: 'OK' }).catch((error: unknown) => {
    deps.log.warn({ error: safeErrorFields(error) }, 'a read through a connection could not be counted');
  });
}

function describe(caller: Caller, { connection }: OpenedConnection) {
  const { id: connectionId, name: connectionName, projectId } = connection;
  return { ...caller.actor, action: 'USE_CONNECTION', connectionId, connectionName, projectId } as const;
}
