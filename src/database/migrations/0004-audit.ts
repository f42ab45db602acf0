import { Migration } from '@mikro-orm/migrations';

/** Adds the append-only audit trail and the results of requests with idempotency keys. */
export class Audit extends Migration {
  override up(): void {
    this.addSql(`create table "audit_head" (
        "org_id" uuid not null,
        "seq" int not null,
        "hash" text not null,
        primary key ("org_id")
      )`);
    this.addSql(`create table "audit_event" (
        "org_id" uuid not null,
        "seq" int not null,
        "at" timestamptz(3) not null,
        "action" text not null,
        "key_id" uuid null,
        "connection_id" uuid null,
        "project_id" uuid null,
        "connection_name" text null,
        "address" text null,
        "request_id" uuid null,
        "outcome" text not null,
        "fields" text[] not null,
        "previous_hash" text not null,
        "hash" text not null,
        primary key ("org_id", "seq")
      )`);
    this.addSql(`create index "audit_event_connection" on "audit_event" ("org_id", "connection_id", "seq")`);
    this.addSql(
      `alter table "audit_head" add constraint "audit_head_org_id_foreign" foreign key ("org_id") references "organisation" ("id") on update cascade on delete restrict`,
    );
    this.addSql(
      `alter table "audit_event" add constraint "audit_event_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(`create function "refuse_audit_change"() returns trigger language plpgsql as $$
      begin
        raise exception 'audit events are only ever added';
      end $$`);
    this.addSql(`create trigger "audit_event_append_only" before update or delete or truncate on "audit_event"
      for each statement execute function "refuse_audit_change"()`);
    this.addSql(`create table "idempotent_request" (
        "api_key_id" uuid not null,
        "key" text not null,
        "org_id" uuid not null,
        "fingerprint" text not null,
        "outcome" jsonb not null,
        "created_at" timestamptz(3) not null,
        primary key ("api_key_id", "key")
      )`);
    this.addSql(`create index "idempotent_request_org" on "idempotent_request" ("org_id")`);
    this.addSql(`create index "idempotent_request_created" on "idempotent_request" ("created_at")`);
    this.addSql(
      `alter table "idempotent_request" add constraint "idempotent_request_api_key_id_foreign" foreign key ("api_key_id") references "api_key" ("id") on delete cascade`,
    );
    this.addSql(
      `alter table "idempotent_request" add constraint "idempotent_request_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
  }
}
