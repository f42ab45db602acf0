import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/**
 * Adds the beginning of each audit trail whose oldest events were deleted. Audit events up to this point can be deleted, and no others,
 * except those of an organisation whose deletion has begun.
 */
export class AuditRetention extends Migration {
  override up(): void {
    this.addSql(`create table "audit_retention" (
        "org_id" uuid not null,
        "seq" int not null,
        "hash" text not null,
        "last_at" timestamptz(3) not null,
        "mac" text not null,
        primary key ("org_id")
      )`);
    this.addSql(
      `alter table "audit_retention" add constraint "audit_retention_org_id_foreign" foreign key ("org_id") references "organisation" ("id") on update cascade on delete restrict`,
    );
    this.addSql(`grant select on "audit_retention" to "${tenant}"`);
    this.addSql(`grant select, insert, update, delete on "audit_retention" to "${system}"`);
    const own = `"org_id" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
    this.addSql(
      `create policy "audit_retention_tenant" on "audit_retention" to "${tenant}" using (${own}) with check (${own})`,
    );
    this.addSql(
      `create policy "audit_retention_system" on "audit_retention" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "audit_retention" enable row level security`);
    this.addSql(`alter table "audit_retention" force row level security`);
    this.addSql(`create or replace function "refuse_audit_deletion"() returns trigger language plpgsql as $$
      begin
        if not exists (select from audit_retention where org_id = old.org_id and seq >= old.seq)
          and not exists (select from organisation_deletion where id = old.org_id and started_at is not null) then
          raise exception 'audit events are only ever added';
        end if;
        return old;
      end $$`);
  }
}
