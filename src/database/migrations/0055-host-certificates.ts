import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** Adds the TLS certificates of hosts. */
export class HostCertificates extends Migration {
  override up(): void {
    this.addSql(`create table "host_certificate" (
        "org_id" uuid not null,
        "origin" text not null,
        "valid_from" timestamptz(3) not null,
        "valid_to" timestamptz(3) not null,
        "seen_at" timestamptz(3) not null,
        "warned_at" timestamptz(3) null,
        "due_at" timestamptz(3) not null,
        primary key ("org_id", "origin")
      )`);
    this.addSql(`create index "host_certificate_due" on "host_certificate" ("due_at")`);
    this.addSql(
      `alter table "host_certificate" add constraint "host_certificate_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(`grant select, update, delete on "host_certificate" to "${tenant}"`);
    this.addSql(`grant select, insert, update, delete on "host_certificate" to "${system}"`);
    const own = `"org_id" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
    this.addSql(
      `create policy "host_certificate_tenant" on "host_certificate" to "${tenant}" using (${own}) with check (${own})`,
    );
    this.addSql(
      `create policy "host_certificate_system" on "host_certificate" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "host_certificate" enable row level security`);
    this.addSql(`alter table "host_certificate" force row level security`);
  }
}
