import { Migration } from '@mikro-orm/migrations';

const system = 'app_connections_system';

/** Of these, the system could not delete rows: nothing did before organisations could be deleted. */
const undeletable = ['api_key', 'audit_event', 'audit_head', 'data_key', 'organisation', 'project'];

/**
 * Lets organisations be disabled and deleted. The status is in the end of the audit trail, whose MACs stay valid, because they omit
 * null values. What remains of a deleted organisation is a row that no organisation sees. Audit events of an organisation can be
 * deleted once this row says that its deletion has begun.
 */
export class OrganisationStatus extends Migration {
  override up(): void {
    this.addSql(`alter table "audit_head"
      add column "disabled_at" timestamptz(3) null,
      add column "delete_at" timestamptz(3) null,
      add column "deletion_started_at" timestamptz(3) null`);
    this.addSql(
      `create index "audit_head_disabled" on "audit_head" ("org_id") where "disabled_at" is not null`,
    );
    this.addSql(`create table "organisation_deletion" (
        "id" uuid not null,
        "name" text not null,
        "reason" text null,
        "requested_by" text not null,
        "requested_at" timestamptz(3) not null,
        "started_at" timestamptz(3) null,
        "completed_at" timestamptz(3) null,
        "seq" int null,
        "hash" text null,
        "mac" text not null,
        primary key ("id")
      )`);
    this.addSql(`grant select, insert, update, delete on "organisation_deletion" to "${system}"`);
    this.addSql(
      `create policy "organisation_deletion_system" on "organisation_deletion" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "organisation_deletion" enable row level security`);
    this.addSql(`alter table "organisation_deletion" force row level security`);
    for (const table of undeletable) this.addSql(`grant delete on "${table}" to "${system}"`);
    this.addSql(`drop trigger "audit_event_append_only" on "audit_event"`);
    this.addSql(`create trigger "audit_event_append_only" before update or truncate on "audit_event"
      for each statement execute function "refuse_audit_change"()`);
    this.addSql(`create function "refuse_audit_deletion"() returns trigger language plpgsql as $$
      begin
        if not exists (select from organisation_deletion where id = old.org_id and started_at is not null) then
          raise exception 'audit events are only ever added';
        end if;
        return old;
      end $$`);
    this.addSql(`create trigger "audit_event_undeletable" before delete on "audit_event"
      for each row execute function "refuse_audit_deletion"()`);
  }
}
