import { Migration } from '@mikro-orm/migrations';

const system = 'app_connections_system';

/** Adds which server streams audit events, and up to which event of each trail they were delivered. Tenants see neither. */
export class AuditStream extends Migration {
  override up(): void {
    this.addSql(`create table "audit_stream" (
        "id" int not null,
        "lease_id" uuid null,
        "lease_until" timestamptz(3) null,
        "failing_since" timestamptz(3) null,
        "failure" text null,
        primary key ("id")
      )`);
    this.addSql(`create table "audit_stream_position" (
        "org_id" uuid not null,
        "seq" int not null,
        "hash" text not null,
        "mac" text not null,
        primary key ("org_id")
      )`);
    this.addSql(
      `alter table "audit_stream_position" add constraint "audit_stream_position_org_id_foreign" foreign key ("org_id") references "organisation" ("id") on update cascade on delete restrict`,
    );
    for (const table of ['audit_stream', 'audit_stream_position']) {
      this.addSql(`grant select, insert, update, delete on "${table}" to "${system}"`);
      this.addSql(
        `create policy "${table}_system" on "${table}" to "${system}" using (true) with check (true)`,
      );
      this.addSql(`alter table "${table}" enable row level security`);
      this.addSql(`alter table "${table}" force row level security`);
    }
  }
}
