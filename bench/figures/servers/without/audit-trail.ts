import type { appendEvent as original, appendEvents as originalOfMany } from '../../../../src/audit/chain.ts';
import { changesChannel } from '../../../../src/database/changes.ts';

export * from '../../../../src/audit/chain.ts';

/** Adds nothing to the audit trail; all else that goes with it is done, and other servers are told of it. */
export const appendEvents: typeof originalOfMany = async (
  em,
  _parts,
  orgId,
  _events,
  { change, look } = {},
) => {
  if (change) await em.execute(change.sql, [...change.params]);
  const seen = look ? `(select json_agg(seen) from (${look.sql}) seen)` : 'null';
  const given = [changesChannel, orgId, ...(look?.params ?? [])];
  const [row]: { seen: object[] | null }[] = await em.execute(
    `select pg_notify(?, ?), ${seen} as seen`,
    given,
  );
  return row?.seen ?? [];
};

/** The same for one event. */
export const appendEvent: typeof original = async (em, parts, { orgId }) => {
  await appendEvents(em, parts, orgId, []);
};
