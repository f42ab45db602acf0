import { Migration } from '@mikro-orm/migrations';

/** Adds soft deletion to connections, and the times since which their credentials have worked or failed. */
export class Life extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection"
      add column "deleted_at" timestamptz(3) null,
      add column "last_verified_at" timestamptz(3) null,
      add column "failing_since" timestamptz(3) null`);
    this.addSql(`update "app_connection" set
      "last_verified_at" = case when "verification_status" = 'VERIFIED' then "verification_checked_at" end,
      "failing_since" = case when "verification_status" <> 'VERIFIED' then "verification_checked_at" end`);
    this.addSql(`drop index "app_connection_project_name_unique"`);
    this.addSql(
      `create unique index "app_connection_project_name_unique" on "app_connection" ("org_id", "project_id", "name") where "project_id" is not null and "deleted_at" is null`,
    );
    this.addSql(`drop index "app_connection_org_name_unique"`);
    this.addSql(
      `create unique index "app_connection_org_name_unique" on "app_connection" ("org_id", "name") where "project_id" is null and "deleted_at" is null`,
    );
    this.addSql(
      `create index "app_connection_deleted" on "app_connection" ("deleted_at") where "deleted_at" is not null`,
    );
  }
}
