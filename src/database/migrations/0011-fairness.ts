import { Migration } from '@mikro-orm/migrations';

/**
 * Adds an index for each filter of the audit trail, in the order of its pages, so that a rare match is found without
 * reading the whole trail, and changes the index of deleted connections to the order in which they are purged.
 */
export class Fairness extends Migration {
  override up(): void {
    const indexes = {
      action: '("org_id", "action", "seq")',
      key: '("org_id", "key_id", "seq")',
      at: '("org_id", "at", "seq")',
      // Partial indexes: most events have no project, no subject and the outcome OK.
      project: '("org_id", "project_id", "seq") where "project_id" is not null',
      subject: '("org_id", "subject", "seq") where "subject" is not null',
      refused: `("org_id", "outcome", "seq") where "outcome" <> 'OK'`,
    };
    for (const [name, columns] of Object.entries(indexes)) {
      this.addSql(`create index "audit_event_${name}" on "audit_event" ${columns}`);
    }
    this.addSql(`drop index "app_connection_deleted"`);
    this.addSql(
      `create index "app_connection_deleted" on "app_connection" ("deleted_at", "id") where "deleted_at" is not null`,
    );
  }
}
