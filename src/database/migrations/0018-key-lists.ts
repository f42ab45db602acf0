import { Migration } from '@mikro-orm/migrations';

/** An index for each list of API keys, in its order, so that a page does not read all keys of the organisation. */
export class KeyLists extends Migration {
  override up(): void {
    this.addSql(`create index "api_key_newest" on "api_key" ("org_id", "created_at", "id")`);
    this.addSql(
      `create index "api_key_newest_active" on "api_key" ("org_id", "created_at", "id") where "revoked_at" is null`,
    );
  }
}
