import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** Adds the setup links of connections, and names them in audit events. MACs and hashes of existing rows stay valid. */
export class SetupLinks extends Migration {
  override up(): void {
    this.addSql(`alter table "audit_event" add column "setup_link_id" uuid null`);
    this.addSql(`create table "connection_setup_link" (
        "id" uuid not null,
        "org_id" uuid not null,
        "connection_id" uuid not null,
        "hash" text not null,
        "created_at" timestamptz(3) not null,
        "expires_at" timestamptz(3) not null,
        "opened_at" timestamptz(3) null,
        "finished_at" timestamptz(3) null,
        "revoked_at" timestamptz(3) null,
        "mac" text not null,
        primary key ("id")
      )`);
    const table = 'connection_setup_link';
    this.addSql(`create index "${table}_connection" on "${table}" ("connection_id")`);
    this.addSql(`create index "${table}_expires" on "${table}" ("expires_at")`);
    this.addSql(`alter table "${table}" add constraint "${table}_hash_unique" unique ("hash")`);
    this.addSql(
      `alter table "${table}" add constraint "${table}_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(
      `alter table "${table}" add constraint "${table}_connection_id_foreign" foreign key ("connection_id") references "app_connection" ("id") on delete cascade`,
    );
    this.addSql(`grant select, insert, update, delete on "${table}" to "${tenant}"`);
    this.addSql(`grant select, delete on "${table}" to "${system}"`);
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
