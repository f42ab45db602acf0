import type { PolicyDef } from '@mikro-orm/core';
import { organisationSetting, roles } from './driver/session.ts';

/** The organisation whose rows are to be seen, or null for nobody's. */
const organisation = `nullif(current_setting('${organisationSetting}', true), '')::uuid`;

/**
 * Row-level security for a table, to be spread into its entity: those who serve an organisation see and write its rows
 * alone, also in a statement that forgets to say so, and also if they owned the table.
 *
 * @param column the column that says whose a row is
 */
export function tenantIsolated(table: string, column = 'org_id') {
  const own = `${column} = ${organisation}`;
  const policies: PolicyDef[] = [
    { name: `${table}_tenant`, roles: [roles.tenant], using: own, check: own },
    forSystem(table),
  ];
  return { rowLevelSecurity: 'force' as const, policies };
}

/** Row-level security for a table that is of no organisation: those who serve one see nothing of it. */
export function systemOnly(table: string) {
  return { rowLevelSecurity: 'force' as const, policies: [forSystem(table)] };
}

function forSystem(table: string): PolicyDef {
  return { name: `${table}_system`, roles: [roles.system], using: 'true', check: 'true' };
}
