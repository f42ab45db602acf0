import { Migration } from '@mikro-orm/migrations';

/** Adds the orders of lists of connections by their health. Null is later than every time. */
export class HealthOrders extends Migration {
  override up(): void {
    for (const [name, column] of [
      ['by_since', 'failing_since'],
      ['by_last_check', 'verification_checked_at'],
      ['by_next_check', 'next_check_at'],
    ])
      this.addSql(
        `create index "app_connection_${name}" on "app_connection" ("org_id", coalesce("${column}", 'infinity'), "id") where "deleted_at" is null`,
      );
  }
}
