import { AuditEvent } from '../audit/audit-event.entity.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { SetupLink } from '../connections/setup-link.entity.ts';
import type { Database } from '../database/database.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { ApiKey } from '../identity/api-key.entity.ts';

const batchRows = 1_000;
const changes: readonly string[] = [
  'UPDATE_CONNECTION',
  'UPDATE_USE_POLICY',
  'CONVERT_CONNECTION',
  'CANCEL_CONVERSION',
  'DELETE_CONNECTION',
  'RESTORE_CONNECTION',
];

/** The version of a new connection, and the least of one whose creation is no longer in the trail. */
const firstVersion = 1;

/**
 * The state of an organisation's rows as its audit trail implies it. An older copy of a row has a valid MAC; this finds it,
 * because the trail has the later changes.
 */
export class RowHistory {
  readonly #versions = new Map<string, number>();
  readonly #revoked = new Set<string>();
  readonly #endedLinks = new Set<string>();
  readonly #deleted = new Set<string>();
  readonly #purgedUndeleted = new Set<string>();
  #replacedSealKeys = 0;
  #lastSeq = 0;

  /** Adds an event. Events must come in the order of the trail. */
  add(event: AuditEvent): void {
    const { seq, action, outcome, connectionId, apiKeyId, setupLinkId, fields } = event;
    this.#lastSeq = seq;
    if (outcome !== 'OK') return;
    if (action === 'ROTATE_KEYS' && fields.includes('sealKey')) this.#replacedSealKeys += 1;
    if (apiKeyId && action === 'REVOKE_API_KEY') this.#revoked.add(apiKeyId);
    if (setupLinkId && (action === 'FINISH_SETUP_LINK' || action === 'REVOKE_SETUP_LINK'))
      this.#endedLinks.add(setupLinkId);
    if (connectionId) this.#addToConnection(connectionId, event);
  }

  #addToConnection(connectionId: string, { action, fields, keyId, subject }: AuditEvent): void {
    const version = this.#versions.get(connectionId);
    if (action === 'CREATE_CONNECTION') this.#versions.set(connectionId, firstVersion);
    else if (action === 'PURGE_CONNECTION') {
      // The clean-up trusts `deleted_at`, which a user with write access to the database can forge. Callers may purge live
      // connections.
      const isByCleanUp = keyId === null && subject === null;
      if (isByCleanUp && version !== undefined && !this.#deleted.has(connectionId)) {
        this.#purgedUndeleted.add(connectionId);
      }
      this.#versions.delete(connectionId);
    } else if (changes.includes(action) && fields.length > 0) {
      this.#versions.set(connectionId, (version ?? firstVersion) + 1);
    }
    if (action === 'DELETE_CONNECTION') this.#deleted.add(connectionId);
    else if (action === 'RESTORE_CONNECTION' || action === 'PURGE_CONNECTION')
      this.#deleted.delete(connectionId);
  }

  /** Yields one line for each row that contradicts the trail. Rows that change meanwhile are not reported. */
  async *contradictions(database: Database, orgId: string): AsyncGenerator<string> {
    for (const ids of inBatches([...this.#revoked])) {
      const where = { orgId, id: { $in: ids }, revokedAt: null };
      for (const { id } of await database.forOrganisation(orgId).find(ApiKey, where)) {
        yield `api_key {"id":"${id}"}: active, but the audit trail says that it was revoked`;
      }
    }
    for (const ids of inBatches([...this.#endedLinks])) {
      const where = { orgId, id: { $in: ids }, finishedAt: null, revokedAt: null };
      for (const { id } of await database.forOrganisation(orgId).find(SetupLink, where)) {
        yield `connection_setup_link {"id":"${id}"}: active, but the audit trail says that it was used or revoked`;
      }
    }
    const retired = await database
      .forOrganisation(orgId)
      .count(DataKey, { orgId, purpose: 'SEAL', retiredAt: { $ne: null } });
    if (retired < this.#replacedSealKeys) {
      yield `data_key of organisation ${orgId}: ${retired} retired keys, but the audit trail has ${this.#replacedSealKeys} rotations`;
    }
    for (const id of this.#purgedUndeleted) {
      yield `app_connection {"id":"${id}"}: purged by the clean-up, but the audit trail has no deletion`;
    }
    for (const ids of inBatches([...this.#versions.keys()])) {
      const em = database.forOrganisation(orgId);
      const rows = await em.find(AppConnection, { orgId, id: { $in: ids } }, { fields: ['id', 'version'] });
      const found = new Map(rows.map(({ id, version }) => [id, version]));
      const gone = ids.filter((id) => !found.has(id));
      const purged = await em.find(AuditEvent, {
        orgId,
        connectionId: { $in: gone },
        seq: { $gt: this.#lastSeq },
        action: 'PURGE_CONNECTION',
        outcome: 'OK',
      });
      for (const id of ids) {
        const [version, expected] = [found.get(id), this.#versions.get(id) ?? 0];
        if (version === undefined && !purged.some(({ connectionId }) => connectionId === id)) {
          yield `app_connection {"id":"${id}"}: missing, but the audit trail has no purge`;
        } else if (version !== undefined && version < expected) {
          yield `app_connection {"id":"${id}"}: at version ${version}, but the audit trail has version ${expected}`;
        }
      }
    }
  }
}

function* inBatches(ids: readonly string[]): Generator<string[]> {
  for (let first = 0; first < ids.length; first += batchRows) yield ids.slice(first, first + batchRows);
}
