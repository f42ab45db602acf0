import type {
  appendEvent as original,
  appendEvents as originalOfMany,
} from '../../../../src/audit/hash-chain.ts';

export * from '../../../../src/audit/hash-chain.ts';

/** Appends no events. The change runs, and other servers are notified. */
export const appendEvents: typeof originalOfMany = async (
  em,
  { database },
  orgId,
  _events,
  { change, query } = {},
) => {
  if (change) await em.execute(change.sql, [...change.params]);
  return database.executeAndNotify(em, orgId, [], query);
};

/** Appends no event. */
export const appendEvent: typeof original = async (em, deps, { orgId }) => {
  await appendEvents(em, deps, orgId, []);
};
