import { Migration } from '@mikro-orm/migrations';

/**
 * Lets audit events be deleted of an organisation without an end of its trail as well: an import stores the end last, so one that was not
 * finished can be replaced.
 */
export class UnfinishedImports extends Migration {
  override up(): void {
    this.addSql(`create or replace function "refuse_audit_deletion"() returns trigger language plpgsql as $$
      begin
        if not exists (select from audit_retention where org_id = old.org_id and seq >= old.seq)
          and not exists (select from organisation_deletion where id = old.org_id and started_at is not null)
          and exists (select from audit_head where org_id = old.org_id) then
          raise exception 'audit events are only ever added';
        end if;
        return old;
      end $$`);
  }
}
