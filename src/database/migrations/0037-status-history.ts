import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/**
 * Adds the history of the status of connections, and of the outages of hosts. A trigger writes the former, because several
 * operations change the status, and none of them may forget it.
 */
export class StatusHistory extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "status_since" timestamptz(3) null`);
    this.addSql(`alter table "host_outage" add column "code" text null`);
    this.addSql(`create table "connection_status_history" (
        "org_id" uuid not null,
        "connection_id" uuid not null,
        "since" timestamptz(3) null,
        "until" timestamptz(3) not null,
        "status" text not null,
        "code" text null,
        primary key ("connection_id", "until")
      )`);
    this.addSql(`create table "host_outage_history" (
        "org_id" uuid not null,
        "origin" text not null,
        "since" timestamptz(3) not null,
        "until" timestamptz(3) not null,
        "code" text null,
        primary key ("org_id", "origin", "until")
      )`);
    this.addSql(
      `alter table "connection_status_history" add constraint "connection_status_history_connection_id_foreign" foreign key ("connection_id") references "app_connection" ("id") on delete cascade`,
    );
    for (const table of ['connection_status_history', 'host_outage_history']) {
      this.addSql(
        `alter table "${table}" add constraint "${table}_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
      );
      this.addSql(`create index "${table}_until" on "${table}" ("until")`);
      this.addSql(`grant select, insert, delete on "${table}" to "${tenant}", "${system}"`);
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
    this.addSql(`create function "record_connection_status"() returns trigger language plpgsql as $$
      begin
        new.status_since := greatest(coalesce(new.verification_checked_at, new.updated_at), old.status_since);
        insert into connection_status_history (org_id, connection_id, since, until, status, code)
          values (old.org_id, old.id, coalesce(old.status_since, old.failing_since), new.status_since,
            old.verification_status, old.verification_code)
          on conflict do nothing;
        delete from connection_status_history as old_row
          where old_row.connection_id = old.id and old_row.until <= (
            select kept.until from connection_status_history as kept
              where kept.connection_id = old.id order by kept.until desc offset 100 limit 1);
        return new;
      end $$`);
    this.addSql(`create trigger "app_connection_status" before update of "verification_status" on "app_connection"
      for each row when (old.verification_status <> new.verification_status)
      execute function "record_connection_status"()`);
  }
}
