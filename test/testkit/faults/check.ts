import { AuditEvent } from '../../../src/audit/audit-event.entity.ts';
import { verifyChain } from '../../../src/audit/verify-chain.ts';
import { AppConnection } from '../../../src/connections/app-connection.entity.ts';
import type { Database } from '../../../src/database/database.ts';
import { lazyScopedEntityManager, ownerSession } from '../../../src/database/driver/session.ts';
import type { Vault } from '../../../src/encryption/vault.ts';
import { Organisation } from '../../../src/identity/organisation.entity.ts';
import { decryptApiToken } from '../decrypt-credentials.ts';
import type { ConnectionState, LogEntry, OperationLog } from './operation-log.ts';

/** Differences between the database and the operation log. Every number must be 0. */
export interface Violations {
  /** Acknowledged changes that are missing or undone. */
  lost: number;
  /** Connections that exist twice, or changed more often than requested. */
  duplicated: number;
  /** Connections whose credentials do not decrypt, or differ from those that the client sent. */
  unopenable: number;
  /** Connections that do not have exactly one audit event for each change. */
  wronglyTold: number;
  /** Organisations whose hash chain is broken. */
  brokenChains: number;
}

/** Compares the database with the operation logs of the clients. */
export async function findViolations(
  journal: OperationLog,
  database: Database,
  vault: Vault,
): Promise<Violations> {
  const owner = () => lazyScopedEntityManager(() => database.asSystem(), ownerSession);
  const findings: Violations = { lost: 0, duplicated: 0, unopenable: 0, wronglyTold: 0, brokenChains: 0 };
  const rows = await owner().find(AppConnection, {}, { populate: ['sealedCredentials'] });
  const byName = Map.groupBy(rows, ({ name }) => name);
  const events = await owner().find(AuditEvent, { outcome: 'OK', connectionId: { $ne: null } });
  const eventsByConnection = Map.groupBy(events, ({ connectionId }) => connectionId);

  for (const entry of journal.entries) {
    const found = byName.get(entry.name) ?? [];
    byName.delete(entry.name);
    if (found.length > 1) findings.duplicated += 1;
    const [row] = found;
    const state = row && entry.possible.find((possible) => possible?.version === row.version);
    if (!row || !state || state.description !== row.description || (entry.id && entry.id !== row.id)) {
      if (!row && entry.possible.includes(undefined)) continue;
      findings[row && row.version > newest(entry) ? 'duplicated' : 'lost'] += 1;
      continue;
    }
    if ((await decryptApiToken(row, owner(), vault)) !== state.token) findings.unopenable += 1;
    const actions = eventsByConnection.get(row.id)?.map(({ action }) => action) ?? [];
    const isRight =
      actions.length === row.version &&
      actions.filter((action) => action === 'CREATE_CONNECTION').length === 1 &&
      actions.filter((action) => action === 'UPDATE_CONNECTION').length === row.version - 1;
    if (!isRight) findings.wronglyTold += 1;
    eventsByConnection.delete(row.id);
  }
  // Connections that no client created, and audit events of connections that do not exist.
  findings.duplicated += byName.size;
  findings.wronglyTold += eventsByConnection.size;
  for (const { id } of await owner().find(Organisation, {})) {
    const chain = await verifyChain(() => database.forOrganisation(id), vault, id);
    if ('problem' in chain) findings.brokenChains += 1;
  }
  return findings;
}

function newest({ possible }: LogEntry): number {
  return Math.max(...possible.map((state: ConnectionState | undefined) => state?.version ?? 0));
}
