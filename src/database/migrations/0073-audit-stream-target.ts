import { Migration } from '@mikro-orm/migrations';

/** Adds the destination of the server that has streamed audit events last, so that servers with different ones are noticed. */
export class AuditStreamTarget extends Migration {
  override up(): void {
    this.addSql(`alter table "audit_stream" add column "target" text null`);
  }
}
