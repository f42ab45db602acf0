import { Migration } from '@mikro-orm/migrations';

/** The condition for connections that are checked, as `isCheckedSql` (`connections/check-interval.ts`) was at this version. */
const isChecked = `"deleted_at" is null and coalesce("check_every", 24) > 0 and "verification_status" <> 'PENDING'
  and ("verification_status" <> 'REJECTED' or "verification_code" not in ('CREDENTIALS_REJECTED', 'INSUFFICIENT_PERMISSIONS'))`;

/**
 * Adds the indexes of what servers look for in all organisations at once: checks that are due, checks without a time, rate budgets and
 * windows of rate limits that have ended, the numbers of connections by app and status. Also of the newest data key of an organisation,
 * and of the connections of a project that is deleted with its organisation.
 */
export class Capacity extends Migration {
  override up(): void {
    this.addSql(
      `create index "app_connection_by_due_check" on "app_connection" ("next_check_at", "check_every") where ${isChecked}`,
    );
    this.addSql(
      `create index "app_connection_by_check_interval" on "app_connection" ("check_every", "next_check_at")
        where "check_every" is not null and ${isChecked}`,
    );
    // With the app, so that the metrics count connections without reading them.
    this.addSql(
      `create index "app_connection_by_status_and_app" on "app_connection" ("org_id", "verification_status", "app")
        where "deleted_at" is null`,
    );
    this.addSql(`drop index "app_connection_by_status"`);
    this.addSql(
      `create index "app_connection_project" on "app_connection" ("project_id") where "project_id" is not null`,
    );
    this.addSql(`create index "data_key_by_purpose" on "data_key" ("org_id", "purpose", "created_at", "id")`);
    this.addSql(`create index "rate_budget_expire" on "rate_budget" ("expire")`);
    this.addSql(`create index "rate_limit_expire" on "rate_limit" ("expire")`);
  }
}
