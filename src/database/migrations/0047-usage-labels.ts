import { Migration } from '@mikro-orm/migrations';

/** Counts calls through connections by what their programs call themselves too, and keeps when each was last answered. */
export class UsageLabels extends Migration {
  override up(): void {
    const table = 'connection_usage_caller';
    this.addSql(
      `alter table "${table}" add column "label" text not null default '', add column "last_used_at" timestamptz(3) null`,
    );
    this.addSql(
      `alter table "${table}" drop constraint "${table}_pkey",
        add constraint "${table}_pkey" primary key ("org_id", "connection_id", "hour", "caller", "label")`,
    );
  }
}
