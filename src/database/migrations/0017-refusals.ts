import { Migration } from '@mikro-orm/migrations';

/** Adds the number of refusals that an audit event stands for. */
export class Refusals extends Migration {
  override up(): void {
    this.addSql(`alter table "audit_event" add column "count" int null`);
  }
}
