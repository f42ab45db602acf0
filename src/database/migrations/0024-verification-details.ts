import { Migration } from '@mikro-orm/migrations';

/** Adds what the last verification has found out about the credentials of a connection. */
export class VerificationDetails extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "verification_details" jsonb null`);
  }
}
