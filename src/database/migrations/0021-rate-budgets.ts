import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/**
 * Adds the rate budgets of connections, and the part of an app's rate limit that a connection may spend. The budgets are
 * unlogged: windows of a minute may be lost in a crash, so that leases do not wait for the disk.
 */
export class RateBudgets extends Migration {
  override up(): void {
    this.addSql(`create unlogged table "rate_budget" (
        "org_id" uuid not null,
        "connection_id" uuid not null,
        "bucket" text not null,
        "revision" bigint not null,
        "state" jsonb not null,
        "expire" bigint not null,
        primary key ("org_id", "connection_id", "bucket")
      )`);
    this.addSql(
      `alter table "rate_budget" add constraint "rate_budget_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(`grant select, insert, update on "rate_budget" to "${tenant}"`);
    this.addSql(`grant select, delete on "rate_budget" to "${system}"`);
    const own = `"org_id" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
    this.addSql(
      `create policy "rate_budget_tenant" on "rate_budget" to "${tenant}" using (${own}) with check (${own})`,
    );
    this.addSql(
      `create policy "rate_budget_system" on "rate_budget" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "rate_budget" enable row level security`);
    this.addSql(`alter table "rate_budget" force row level security`);
    this.addSql(`alter table "app_connection" add column "max_share_of_rate_limit" int null`);
  }
}
