import { Migration } from '@mikro-orm/migrations';

/** Adds the order of lists of connections by the time at which they last worked. Null is later than every time. */
export class LastGoodOrder extends Migration {
  override up(): void {
    this.addSql(
      `create index "app_connection_by_last_good" on "app_connection" ("org_id", coalesce("last_verified_at", 'infinity'), "id") where "deleted_at" is null`,
    );
  }
}
