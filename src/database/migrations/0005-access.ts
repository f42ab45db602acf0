import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** The privileges of the two roles on each table. The policies limit the rows. */
const grants: readonly [table: string, tenantPrivileges: string, systemPrivileges: string][] = [
  ['organisation', 'select', 'select, insert'],
  ['project', 'select, insert, update', 'select, insert'],
  ['api_key', 'select, insert, update', 'select, insert, update'],
  ['data_key', 'select', 'select, insert, update'],
  ['app_connection', 'select, insert, update, delete', 'select, update, delete'],
  ['audit_head', 'select, insert, update', 'select, insert, update'],
  ['audit_event', 'select, insert', 'select, insert'],
  ['idempotent_request', 'select, insert, delete', 'select, delete'],
];

/**
 * Adds project limits, expiry, revocation and time of use to API keys, callers without an API key, and row-level security.
 * Row-level security also applies to the owner of the tables, so a later migration that changes rows has to
 * `set local role` to the system's role first.
 */
export class Access extends Migration {
  override up(): void {
    this.addSql(`alter table "api_key"
      add column "project_ids" uuid[] null,
      add column "expires_at" timestamptz(3) null,
      add column "revoked_at" timestamptz(3) null,
      add column "last_used_at" timestamptz(3) null`);
    // A key with all previous scopes is an administrator's, so it gets the new scope.
    this.addSql(`update "api_key" set "scopes" = "scopes" || '{access:admin}'
      where "scopes" @> '{connections:read,connections:write,connections:verify,audit:read}'`);
    this.addSql(`drop index "project_org"`);
    this.addSql(`alter table "project" add constraint "project_name_unique" unique ("org_id", "name")`);
    this.addSql(`alter table "audit_event"
      add column "subject" text null,
      add column "api_key_id" uuid null,
      add column "target_name" text null`);

    this.addSql(`alter table "idempotent_request" add column "caller" text null`);
    this.addSql(`update "idempotent_request" set "caller" = 'key:' || "api_key_id"`);
    this.addSql(`alter table "idempotent_request" drop constraint "idempotent_request_pkey"`);
    this.addSql(`drop index "idempotent_request_org"`);
    this.addSql(
      `alter table "idempotent_request" drop column "api_key_id", alter column "caller" set not null`,
    );
    this.addSql(`alter table "idempotent_request" add primary key ("org_id", "caller", "key")`);

    for (const role of [tenant, system]) this.addSql(createRole(role));
    for (const [table, ofTenant, ofSystem] of grants) {
      this.addSql(`grant ${ofTenant} on "${table}" to "${tenant}"`);
      this.addSql(`grant ${ofSystem} on "${table}" to "${system}"`);
      const own = `"${table === 'organisation' ? 'id' : 'org_id'}" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
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

/**
 * Creates a role and grants it to the user that connects. Roles are shared by all databases of a PostgreSQL cluster, so the
 * role may exist, or be created for another database at the same time.
 */
function createRole(role: string): string {
  return `do $$
    declare
      membership text := case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end;
    begin
      begin
        if not exists (select from pg_roles where rolname = '${role}') then
          create role "${role}" nologin;
        end if;
      exception when duplicate_object or unique_violation then
        null;
      end;
      if not pg_has_role(current_user, '${role}', membership) then
        execute format('grant %I to %I', '${role}', current_user);
      end if;
      execute format('grant usage on schema %I to %I', current_schema(), '${role}');
    end $$`;
}
