import { Migration } from '@mikro-orm/migrations';

/** Adds the public keys of a connection. A connection that waits for its key to be registered was never checked. */
export class ServiceApps extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "keys" jsonb null`);
    this.addSql(`alter table "app_connection" alter column "verification_checked_at" drop not null`);
  }
}
