import { Migration } from '@mikro-orm/migrations';

/**
 * Adds when the credentials of a connection end, as far as it is known. It depends on the app, so servers look at existing
 * connections once, as if a warning were due: the default sets the time in the existing rows without writing them.
 */
export class ExpiryForecasts extends Migration {
  override up(): void {
    this.addSql(
      `alter table "app_connection" add column "expires_at" timestamptz(3) null,
        add column "expiry_reason" text null, add column "expiry_warning_at" timestamptz(3) null default now()`,
    );
    this.addSql(`alter table "app_connection" alter column "expiry_warning_at" drop default`);
    this.addSql(
      `create index "app_connection_by_expiry" on "app_connection" ("org_id", coalesce("expires_at", 'infinity'), "id") where "deleted_at" is null`,
    );
    this.addSql(
      `create index "app_connection_by_expiry_warning" on "app_connection" ("expiry_warning_at")
        where "expiry_warning_at" is not null and "deleted_at" is null`,
    );
  }
}
