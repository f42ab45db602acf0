import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** Adds webhook endpoints and the messages that are sent to them. */
export class Webhooks extends Migration {
  override up(): void {
    this.addSql(`create table "webhook_endpoint" (
        "id" uuid not null,
        "org_id" uuid not null,
        "url" text not null,
        "description" text null,
        "event_types" text[] null,
        "project_ids" uuid[] null,
        "format" text not null,
        "sealed_secrets" text not null,
        "data_key_id" uuid not null,
        "previous_secret_until" timestamptz(3) null,
        "created_at" timestamptz(3) not null,
        "updated_at" timestamptz(3) not null,
        "disabled_at" timestamptz(3) null,
        "position" int not null,
        "next_attempt_at" timestamptz(3) null,
        "lease_id" uuid null,
        "lease_until" timestamptz(3) null,
        "failing_since" timestamptz(3) null,
        "last_success_at" timestamptz(3) null,
        "mac" text not null,
        primary key ("id")
      )`);
    this.addSql(`create table "webhook_message" (
        "id" uuid not null,
        "org_id" uuid not null,
        "endpoint_id" uuid not null,
        "seq" int not null,
        "connection_id" uuid null,
        "type" text not null,
        "occurred_at" timestamptz(3) not null,
        "body" text not null,
        "created_at" timestamptz(3) not null,
        "status" text not null,
        "attempts" int not null,
        "failed_since" timestamptz(3) null,
        "next_attempt_at" timestamptz(3) not null,
        "log" jsonb not null,
        "mac" text not null,
        primary key ("id")
      )`);
    this.addSql(`create index "webhook_endpoint_org" on "webhook_endpoint" ("org_id")`);
    this.addSql(`create index "webhook_endpoint_data_key" on "webhook_endpoint" ("data_key_id")`);
    this.addSql(`create index "webhook_message_created" on "webhook_message" ("created_at")`);
    this.addSql(
      `create index "webhook_message_pending" on "webhook_message" ("endpoint_id", "seq") where "status" = 'PENDING'`,
    );
    this.addSql(`create index "webhook_message_list" on "webhook_message" ("endpoint_id", "seq", "id")`);
    for (const table of ['webhook_endpoint', 'webhook_message']) {
      this.addSql(
        `alter table "${table}" add constraint "${table}_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
      );
      this.addSql(`grant select, insert, update, delete on "${table}" to "${tenant}"`);
      this.addSql(`grant select, update, delete on "${table}" to "${system}"`);
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
    this.addSql(
      `alter table "webhook_endpoint" add constraint "webhook_endpoint_data_key_id_foreign" foreign key ("data_key_id") references "data_key" ("id")`,
    );
    this.addSql(
      `alter table "webhook_message" add constraint "webhook_message_endpoint_id_foreign" foreign key ("endpoint_id") references "webhook_endpoint" ("id") on delete cascade`,
    );
  }
}
