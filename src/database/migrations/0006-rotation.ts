import { Migration } from '@mikro-orm/migrations';

/**
 * Adds the root key under which each data key was created, and the index that re-encryption of connections uses. The
 * system's role already has the privileges that a rotation needs.
 */
export class Rotation extends Migration {
  override up(): void {
    this.addSql(`alter table "data_key" add column "made_under" text null`);
    // No data key has been wrapped again before this migration.
    this.addSql(`set local role "app_connections_system"`);
    this.addSql(`update "data_key" set "made_under" = "root_key_id"`);
    this.addSql(`set local role none`);
    this.addSql(`alter table "data_key" alter column "made_under" set not null`);
    this.addSql(`drop index "app_connection_data_key"`);
    this.addSql(`create index "app_connection_data_key" on "app_connection" ("data_key_id", "id")`);
  }
}
