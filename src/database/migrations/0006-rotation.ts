import { Migration } from '@mikro-orm/migrations';

/**
 * Under which root key each data key was made, and an index on which re-sealing gets on from one connection to the
 * next. The system's role has all the rights that rotating takes.
 */
export class Rotation extends Migration {
  override up(): void {
    this.addSql(`alter table "data_key" add column "made_under" text null`);
    // Nothing has wrapped a data key anew before.
    this.addSql(`set local role "app_connections_system"`);
    this.addSql(`update "data_key" set "made_under" = "root_key_id"`);
    this.addSql(`set local role none`);
    this.addSql(`alter table "data_key" alter column "made_under" set not null`);
    this.addSql(`drop index "app_connection_data_key"`);
    this.addSql(`create index "app_connection_data_key" on "app_connection" ("data_key_id", "id")`);
  }
}
