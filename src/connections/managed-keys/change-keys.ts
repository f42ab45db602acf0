import type { EntityManager } from '@mikro-orm/postgresql';
import { storeWithEvents } from '../../audit/audited-change.ts';
import type { RecordedEvent } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { AppConnection } from '../app-connection.entity.ts';
import {
  openCredentials,
  retryIfReplaced,
  type StoredCredentials,
  sealCredentials,
} from '../credentials/seal.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../deps.ts';
import { signedUpdate } from '../persistence/signed-update.ts';

/** Who changes keys, as an audit event has it. */
export type KeyChangeActor = Pick<
  RecordedEvent,
  'keyId' | 'subject' | 'setupLinkId' | 'address' | 'requestId'
>;

/** What changes about the keys of a connection. */
export interface KeyChange {
  action: RecordedEvent['action'];
  /** The id of the key that the event is about. */
  keyId: string;
  /** The names of the changed fields. */
  fields: string[];
  columns: Partial<AppConnection>;
  /** The credentials afterwards; absent if they stay the same. */
  credentials?: StoredCredentials;
}

/**
 * Changes the keys of a connection and appends the audit event, in one statement. If the connection was changed meanwhile, by
 * this server or another one, the change is decided again.
 *
 * @param decide returns undefined if there is nothing to change
 * @returns the connection afterwards; undefined if it was deleted
 */
export async function changeKeys(
  deps: ConnectionDeps,
  { orgId, id }: { orgId: string; id: string },
  actor: KeyChangeActor,
  decide: (connection: AppConnection, credentials: StoredCredentials) => KeyChange | undefined,
): Promise<AppConnection | undefined> {
  for (;;) {
    const opened = await retryIfReplaced(() => readWithCredentials(deps, { orgId, id }));
    if (!opened) return undefined;
    const change = decide(opened.connection, opened.credentials);
    if (!change) return opened.connection;
    const stored = await storeChange(deps, opened.connection, actor, change);
    if (stored) return stored;
  }
}

/** Reads a connection that is not deleted, and decrypts its credentials. */
export async function readWithCredentials(
  deps: ConnectionDeps,
  target: { orgId: string; id: string },
): Promise<{ connection: AppConnection; credentials: StoredCredentials } | undefined> {
  const em = deps.database.forOrganisation(target.orgId);
  const connection = await findRow(em, target);
  return connection && { connection, credentials: await openCredentials(deps, em, connection) };
}

async function findRow(em: EntityManager, { orgId, id }: { orgId: string; id: string }) {
  const options = { populate: ['sealedCredentials', 'mac'] } as const;
  return (await em.findOne(AppConnection, { id, orgId, deletedAt: null }, options)) ?? undefined;
}

/** @returns undefined if the connection has changed since it was read, so that nothing was stored */
async function storeChange(
  deps: ConnectionDeps,
  before: AppConnection,
  actor: KeyChangeActor,
  { action, keyId, fields, columns, credentials }: KeyChange,
): Promise<AppConnection | undefined> {
  const { id, orgId, name: connectionName, projectId, mac } = before;
  const owner = { ...resolveAppAndMethod(deps, before), orgId, connectionId: id };
  const sealed = credentials && (await sealCredentials(deps, owner, credentials));
  const about = { connectionId: id, connectionName, projectId, targetName: keyId };
  const event: RecordedEvent = { ...actor, orgId, action, ...about, outcome: 'OK', fields };
  return storeWithEvents(deps, orgId, {
    row: { entity: AppConnection, id },
    prepare: async (em, { sealKeyId }) => {
      const current = await findRow(em, before);
      // The MAC covers every column that decides, so it identifies the version of the row.
      if (current?.mac !== mac) return { events: [], result: undefined };
      (await deps.vault.rowMacs(em)).verify(em, AppConnection, current);
      const after = { ...current, ...columns, ...sealed };
      after.version += 1;
      after.updatedAt = currentTime();
      const replacement = { before: current, after, credentials };
      const { update, readMac } = await signedUpdate(deps, em, sealKeyId, replacement);
      return { events: [event], updates: [update], readMac, result: after };
    },
  });
}
