import { Migration } from '@mikro-orm/migrations';

/** Adds the pending conversion of a connection, and its last verification. */
export class Conversions extends Migration {
  override up(): void {
    this.addSql(
      `alter table "app_connection" add column "conversion" jsonb null, add column "conversion_verification" jsonb null`,
    );
  }
}
