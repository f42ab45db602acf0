import type {
  appendEvent as original,
  appendEvents as originalOfMany,
} from '../../../../src/audit/hash-chain.ts';

export * from '../../../../src/audit/hash-chain.ts';

/** Adds nothing to the audit trail; all else that goes with it is done, and other servers are told of it. */
export const appendEvents: typeof originalOfMany = async (
  em,
  { database },
  orgId,
  _events,
  { change, look } = {},
) => {
  if (change) await em.execute(change.sql, [...change.params]);
  return database.executeAndNotify(em, orgId, [], look);
};

/** The same for one event. */
export const appendEvent: typeof original = async (em, parts, { orgId }) => {
  await appendEvents(em, parts, orgId, []);
};
