import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** Adds the counts of calls through connections. Requests only read them; servers add to them as the system. */
export class Usage extends Migration {
  override up(): void {
    this.addSql(`create table "connection_usage" (
        "org_id" uuid not null,
        "connection_id" uuid not null,
        "hour" timestamptz(3) not null,
        "outcome" text not null,
        "status_class" smallint not null,
        "calls" int not null,
        "bytes_up" bigint not null,
        "bytes_down" bigint not null,
        "durations" int[] null,
        primary key ("org_id", "connection_id", "hour", "outcome", "status_class")
      )`);
    this.addSql(`create table "connection_usage_caller" (
        "org_id" uuid not null,
        "connection_id" uuid not null,
        "hour" timestamptz(3) not null,
        "caller" text not null,
        "calls" int not null,
        "failed_calls" int not null,
        "bytes_up" bigint not null,
        "bytes_down" bigint not null,
        primary key ("org_id", "connection_id", "hour", "caller")
      )`);
    this.addSql(`create table "connection_last_use" (
        "org_id" uuid not null,
        "connection_id" uuid not null,
        "at" timestamptz(3) null,
        "caller" text null,
        primary key ("org_id", "connection_id")
      )`);
    for (const table of ['connection_usage', 'connection_usage_caller', 'connection_last_use']) {
      this.addSql(
        `alter table "${table}" add constraint "${table}_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
      );
      if (table !== 'connection_last_use') this.addSql(`create index "${table}_hour" on "${table}" ("hour")`);
      this.addSql(`grant select on "${table}" to "${tenant}"`);
      this.addSql(`grant select, insert, update, delete on "${table}" to "${system}"`);
      const own = `"org_id" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
      this.addSql(
        `create policy "${table}_tenant" on "${table}" to "${tenant}" using (${own}) with check (${own})`,
      );
      this.addSql(
        `create policy "${table}_system" on "${table}" to "${system}" using (true) with check (true)`,
      );
      this.addSql(`alter table "${table}" enable row level security`);
      this.addSql(`alter table "${table}" force row level security`);
    }
  }
}
