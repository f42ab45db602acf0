import { Migration } from '@mikro-orm/migrations';

/** Adds why an app has not added or removed keys of a connection. */
export class KeyRegistrationFailures extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "key_registration_failure" jsonb null`);
  }
}
