import { Migration } from '@mikro-orm/migrations';

/** Adds since when the check of a connection is late, and why. MACs of rows do not cover it, because each check writes it. */
export class CheckDelays extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "check_delay" jsonb null`);
  }
}
