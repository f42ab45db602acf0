import { Migration } from '@mikro-orm/migrations';

/** Adds the credentials of a connection that others have replaced and that the server revokes. */
export class Revocations extends Migration {
  override up(): void {
    this.addSql(
      `alter table "app_connection" add column "revocations" jsonb null, add column "revoke_at" timestamptz(3) null`,
    );
    this.addSql(
      `create index "app_connection_by_revocation" on "app_connection" ("revoke_at") where "revoke_at" is not null`,
    );
  }
}
