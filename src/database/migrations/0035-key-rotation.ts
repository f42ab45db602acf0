import { Migration } from '@mikro-orm/migrations';

/** Adds the schedule of the rotation of keys that servers have made for connections. */
export class KeyRotation extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "keys_due_at" timestamptz(3) null`);
    this.addSql(
      `create index "app_connection_by_rotation" on "app_connection" ("keys_due_at")
        where "is_platform_managed_credentials" and "deleted_at" is null`,
    );
  }
}
