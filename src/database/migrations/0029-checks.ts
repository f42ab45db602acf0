import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** Adds the schedule of the checks of connections, and the hosts that do not answer. */
export class Checks extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "check_every" int null`);
    this.addSql(`alter table "app_connection" add column "next_check_at" timestamptz(3) null`);
    this.addSql(
      `create index "app_connection_by_check" on "app_connection" ("org_id", "next_check_at") where "deleted_at" is null`,
    );
    this.addSql(`create table "host_outage" (
        "org_id" uuid not null,
        "origin" text not null,
        "since" timestamptz(3) not null,
        "checked_at" timestamptz(3) not null,
        "next_check_at" timestamptz(3) not null,
        "message" text not null,
        primary key ("org_id", "origin")
      )`);
    this.addSql(
      `alter table "host_outage" add constraint "host_outage_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(`grant select, insert, update, delete on "host_outage" to "${tenant}"`);
    this.addSql(`grant select, delete on "host_outage" to "${system}"`);
    const own = `"org_id" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
    this.addSql(
      `create policy "host_outage_tenant" on "host_outage" to "${tenant}" using (${own}) with check (${own})`,
    );
    this.addSql(
      `create policy "host_outage_system" on "host_outage" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "host_outage" enable row level security`);
    this.addSql(`alter table "host_outage" force row level security`);
  }
}
