import { Migration } from '@mikro-orm/migrations';

/** How many attempts an event of the audit trail tells of, where it is not one. */
export class Refusals extends Migration {
  override up(): void {
    this.addSql(`alter table "audit_event" add column "count" int null`);
  }
}
