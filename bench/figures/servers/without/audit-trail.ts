import type { appendEvent as original } from '../../../../src/audit/chain.ts';
import { changesChannel } from '../../../../src/database/changes.ts';

/** Adds nothing to the audit trail; other servers are still told that something has changed. */
export const appendEvent: typeof original = async (em, _parts, { orgId }) => {
  await em.execute('select pg_notify(?, ?)', [changesChannel, orgId]);
};
