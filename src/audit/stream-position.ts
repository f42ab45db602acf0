import type { EntityManager } from '@mikro-orm/postgresql';
import type { Vault } from '../encryption/vault.ts';
import type { AuditEvent } from './audit-event.entity.ts';
import { AuditStreamPosition } from './audit-stream.entity.ts';
import type { AuditDeps } from './hash-chain.ts';
import { type ChainPosition, chainStart } from './verify-chain.ts';

/** The condition, in SQL, that events of `audit_head as head` with `audit_stream_position as position` were not delivered. */
export const isDueSql = `(head.seq, head.hash) is distinct from (coalesce(position.seq, 0), coalesce(position.hash, ''))
  and head.deletion_started_at is null`;

/** The row of a position. */
export type PositionRow = Pick<AuditStreamPosition, 'orgId' | 'seq' | 'hash' | 'mac'>;

/**
 * Returns the last event that was delivered; the start of the trail if there is no position, or if something else has changed it, which
 * is logged: then the trail is delivered again.
 */
export async function toDeliveredPosition(
  em: EntityManager,
  vault: Vault,
  row: PositionRow | null,
): Promise<ChainPosition> {
  const isAuthentic = row && (await vault.rowMacs(em)).isAuthentic(em, AuditStreamPosition, row);
  return isAuthentic ? row : chainStart;
}

/** Events that were delivered. */
export interface DeliveredEvents {
  orgId: string;
  /** At least one; the oldest first. */
  events: readonly AuditEvent[];
  /** The MAC of the position that was stored before them; null if there was none. */
  readMac: string | null;
}

/**
 * Stores up to which events trails were delivered.
 *
 * @returns whether it has stored all; not if another server has taken the lease, or has delivered them too
 */
export async function storePositions(
  { database, vault }: AuditDeps,
  leaseId: string,
  delivered: readonly DeliveredEvents[],
): Promise<boolean> {
  const em = database.asSystem();
  const macs = await vault.rowMacs(em);
  const positions = delivered.flatMap(({ orgId, events, readMac }) => {
    const last = events.at(-1);
    if (!last) return [];
    const { seq, hash, mac } = macs.signed(em, AuditStreamPosition, {
      orgId,
      seq: last.seq,
      hash: last.hash,
    });
    return [{ org_id: orgId, seq, hash, mac, read_mac: readMac }];
  });
  const [{ stored }] = await em.execute<[{ stored: number }]>(
    `with given as (
        select * from json_to_recordset(?) as given (org_id uuid, seq int, hash text, mac text, read_mac text)
        where exists (select from audit_stream where lease_id = ?)),
      moved as (update audit_stream_position as position set seq = given.seq, hash = given.hash, mac = given.mac
        from given where position.org_id = given.org_id and position.mac = given.read_mac returning 1),
      added as (insert into audit_stream_position (org_id, seq, hash, mac)
        select given.org_id, given.seq, given.hash, given.mac from given join organisation on id = given.org_id
        where given.read_mac is null on conflict do nothing returning 1)
      select (select count(*) from moved)::int + (select count(*) from added)::int as stored`,
    [JSON.stringify(positions), leaseId],
  );
  return stored === positions.length;
}
