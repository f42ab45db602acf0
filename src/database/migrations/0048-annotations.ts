import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/**
 * Adds tags, an owner and notes to connections. MACs of existing rows stay valid, because they omit null values. A trigger keeps
 * the table of tags, by which lists are filtered.
 */
export class ConnectionAnnotations extends Migration {
  override up(): void {
    this.addSql(
      `alter table "app_connection" add column "tags" jsonb null, add column "owner" jsonb null, add column "notes" text null`,
    );
    const table = 'connection_tag';
    this.addSql(`create table "${table}" (
        "org_id" uuid not null,
        "connection_id" uuid not null,
        "key" text not null,
        "value" text not null,
        primary key ("connection_id", "key")
      )`);
    this.addSql(
      `alter table "${table}" add constraint "${table}_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(
      `alter table "${table}" add constraint "${table}_connection_id_foreign" foreign key ("connection_id") references "app_connection" ("id") on delete cascade`,
    );
    this.addSql(`create index "${table}_by_value" on "${table}" ("org_id", "key", "value", "connection_id")`);
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
    this.addSql(`create function "store_connection_tags"() returns trigger language plpgsql as $$
      begin
        delete from connection_tag where connection_id = new.id;
        insert into connection_tag (org_id, connection_id, key, value)
          select new.org_id, new.id, tag->>'key', tag->>'value' from jsonb_array_elements(new.tags) as tag;
        return null;
      end $$`);
    this.addSql(`create trigger "app_connection_new_tags" after insert on "app_connection"
      for each row when (new.tags is not null) execute function "store_connection_tags"()`);
    this.addSql(`create trigger "app_connection_changed_tags" after update of "tags" on "app_connection"
      for each row when (old.tags is distinct from new.tags) execute function "store_connection_tags"()`);
  }
}
