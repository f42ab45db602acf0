import type { PolicyDef } from '@mikro-orm/core';
import { organisationSetting, roles } from './driver/session.ts';

/** SQL for the organisation whose rows are visible; null if there is none. */
const organisation = `nullif(current_setting('${organisationSetting}', true), '')::uuid`;

/**
 * Row-level security for a table of tenants, to be spread into its entity. The tenant role sees and writes only the rows of
 * its organisation, even in a statement without that condition. `force` applies the policies to the owner too.
 *
 * @param column the column with the organisation
 */
export function tenantIsolated(table: string, column = 'org_id') {
  const isOwn = `${column} = ${organisation}`;
  const policies: PolicyDef[] = [
    { name: `${table}_tenant`, roles: [roles.tenant], using: isOwn, check: isOwn },
    systemPolicy(table),
  ];
  return { rowLevelSecurity: 'force' as const, policies };
}

/** Row-level security for a table without organisations. The tenant role sees no row of it. */
export function systemOnly(table: string) {
  return { rowLevelSecurity: 'force' as const, policies: [systemPolicy(table)] };
}

function systemPolicy(table: string): PolicyDef {
  return { name: `${table}_system`, roles: [roles.system], using: 'true', check: 'true' };
}
