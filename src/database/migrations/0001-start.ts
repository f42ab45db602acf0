import { Migration } from '@mikro-orm/migrations';

/** Organisations, projects, API keys, data keys and connections. */
export class Start extends Migration {
  override up(): void {
    this.addSql(`create table "data_key" (
        "id" uuid not null,
        "org_id" uuid not null,
        "purpose" text not null,
        "wrapped" text not null,
        "root_key_id" text not null,
        "created_at" timestamptz(3) not null,
        "retired_at" timestamptz(3) null,
        primary key ("id")
      )`);
    this.addSql(`create index "data_key_root_key" on "data_key" ("root_key_id", "id")`);
    this.addSql(
      `create unique index "data_key_active_unique" on "data_key" ("org_id", "purpose") where "retired_at" is null`,
    );
    this.addSql(`create table "organisation" (
        "id" uuid not null,
        "name" text not null,
        "created_at" timestamptz(3) not null,
        primary key ("id")
      )`);
    this.addSql(`create table "api_key" (
        "id" uuid not null,
        "org_id" uuid not null,
        "name" text not null,
        "hash" text not null,
        "scopes" text[] not null,
        "created_at" timestamptz(3) not null,
        primary key ("id")
      )`);
    this.addSql(`create index "api_key_org" on "api_key" ("org_id")`);
    this.addSql(`alter table "api_key" add constraint "api_key_hash_unique" unique ("hash")`);
    this.addSql(`create table "project" (
        "id" uuid not null,
        "org_id" uuid not null,
        "name" text not null,
        "created_at" timestamptz(3) not null,
        primary key ("id")
      )`);
    this.addSql(`create index "project_org" on "project" ("org_id")`);
    this.addSql(`create table "app_connection" (
        "id" uuid not null,
        "org_id" uuid not null,
        "project_id" uuid null,
        "name" text collate "C" not null,
        "description" text null,
        "app" text not null,
        "method" text not null,
        "version" int not null default 1,
        "created_at" timestamptz(3) not null,
        "updated_at" timestamptz(3) not null,
        "is_platform_managed_credentials" boolean not null,
        "credentials_hash" text not null,
        "public_credentials" jsonb not null,
        "account" jsonb null,
        "sealed_credentials" text not null,
        "data_key_id" uuid not null,
        "verification_status" text not null,
        "verification_checked_at" timestamptz(3) not null,
        "verification_code" text null,
        "verification_message" text null,
        "verification_remedy" text null,
        "upstream_request_id" text null,
        primary key ("id")
      )`);
    this.addSql(`create index "app_connection_data_key" on "app_connection" ("data_key_id")`);
    this.addSql(`create index "app_connection_by_name" on "app_connection" ("org_id", "name", "id")`);
    this.addSql(
      `create index "app_connection_project_by_name" on "app_connection" ("org_id", "project_id", "name", "id")`,
    );
    this.addSql(
      `create unique index "app_connection_project_name_unique" on "app_connection" ("org_id", "project_id", "name") where "project_id" is not null`,
    );
    this.addSql(
      `create unique index "app_connection_org_name_unique" on "app_connection" ("org_id", "name") where "project_id" is null`,
    );
    this.addSql(
      `alter table "api_key" add constraint "api_key_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(
      `alter table "project" add constraint "project_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(
      `alter table "app_connection" add constraint "app_connection_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(
      `alter table "app_connection" add constraint "app_connection_project_id_foreign" foreign key ("project_id") references "project" ("id") on delete restrict`,
    );
    this.addSql(
      `alter table "app_connection" add constraint "app_connection_data_key_id_foreign" foreign key ("data_key_id") references "data_key" ("id")`,
    );
  }
}
