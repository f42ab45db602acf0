import { isCheckedSql } from './check-interval.ts';

/** A partial index, by default of the connections that are not deleted. */
function index<const Properties extends string[]>(
  name: string,
  properties: Properties,
  where = '"deleted_at" is null',
) {
  return { name: `app_connection_${name}`, properties, where };
}

const projectNames = index(
  'project_name_unique',
  ['orgId', 'projectId', 'name'],
  '"project_id" is not null and "deleted_at" is null',
);
const organisationNames = index(
  'org_name_unique',
  ['orgId', 'name'],
  '"project_id" is null and "deleted_at" is null',
);

/** The unique indexes of names: one for connections of a project, one for connections without a project. */
export const nameIndexes = [projectNames, organisationNames];

/** A partial index of these in the order of a time; null is later than every time. */
function healthIndex(name: string, column: string) {
  return {
    name: `app_connection_${name}`,
    expression: `create index "app_connection_${name}" on "app_connection" ("org_id", coalesce("${column}", 'infinity'), "id") where "deleted_at" is null`,
  };
}

/** A partial index of the connections that are checked; PostgreSQL uses it for statements with `isCheckedSql`. */
function checkIndex(name: string, columns: string, condition = '') {
  return {
    name: `app_connection_${name}`,
    expression: `create index "app_connection_${name}" on "app_connection" (${columns}) where ${condition}${isCheckedSql}`,
  };
}

/** The other indexes of `app_connection`. */
export const indexes = [
  // The order in which reencrypt.ts reads connections.
  { name: 'app_connection_data_key', properties: ['dataKeyId' as const, 'id' as const] },
  // For the foreign key, when a project is deleted with its organisation.
  index('project', ['projectId'], '"project_id" is not null'),
  index('deleted', ['deletedAt', 'id'], '"deleted_at" is not null'),
  // Every order of a list, in both directions, for an organisation and for a project.
  index('by_name', ['orgId', 'name', 'id']),
  index('by_created', ['orgId', 'createdAt', 'id']),
  index('by_updated', ['orgId', 'updatedAt', 'id']),
  index('project_by_name', ['orgId', 'projectId', 'name', 'id']),
  index('project_by_created', ['orgId', 'projectId', 'createdAt', 'id']),
  index('project_by_updated', ['orgId', 'projectId', 'updatedAt', 'id']),
  // For rare values PostgreSQL uses these and sorts; for frequent ones it scans an index of the order.
  index('by_app', ['orgId', 'app']),
  index('by_method', ['orgId', 'method']),
  // With the app, so that the metrics count connections without reading them.
  index('by_status_and_app', ['orgId', 'verificationStatus', 'app']),
  index('by_check', ['orgId', 'nextCheckAt']),
  // Of all organisations at once.
  checkIndex('by_due_check', '"next_check_at", "check_every"'),
  checkIndex('by_check_interval', '"check_every", "next_check_at"', '"check_every" is not null and '),
  // The orders by health, of an organisation. In a project, PostgreSQL sorts.
  healthIndex('by_since', 'failing_since'),
  healthIndex('by_last_check', 'verification_checked_at'),
  healthIndex('by_next_check', 'next_check_at'),
  healthIndex('by_last_good', 'last_verified_at'),
  healthIndex('by_expiry', 'expires_at'),
  index('by_expiry_warning', ['expiryWarningAt'], '"expiry_warning_at" is not null and "deleted_at" is null'),
  // Of few connections, and also of deleted ones.
  index('by_revocation', ['revokeAt'], '"revoke_at" is not null'),
  index('by_rotation', ['keysDueAt'], '"is_platform_managed_credentials" and "deleted_at" is null'),
  index(
    'by_key_removal',
    ['keysDueAt'],
    'not "is_platform_managed_credentials" and "keys_due_at" is not null and "deleted_at" is null',
  ),
];
