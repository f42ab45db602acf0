import { Migration } from '@mikro-orm/migrations';

/** Adds the index of the connections with a key of the caller whose former keys, which servers have made, are removed at the app. */
export class KeyRemovals extends Migration {
  override up(): void {
    this.addSql(
      `create index "app_connection_by_key_removal" on "app_connection" ("keys_due_at")
        where not "is_platform_managed_credentials" and "keys_due_at" is not null and "deleted_at" is null`,
    );
  }
}
