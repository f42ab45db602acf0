import { Migration } from '@mikro-orm/migrations';

/** Adds an index for each order and each filter of a list. The earlier indexes included deleted connections. */
export class Find extends Migration {
  override up(): void {
    this.addSql(`drop index "app_connection_by_name"`);
    this.addSql(`drop index "app_connection_project_by_name"`);
    const indexes = {
      by_name: '"org_id", "name", "id"',
      by_created: '"org_id", "created_at", "id"',
      by_updated: '"org_id", "updated_at", "id"',
      project_by_name: '"org_id", "project_id", "name", "id"',
      project_by_created: '"org_id", "project_id", "created_at", "id"',
      project_by_updated: '"org_id", "project_id", "updated_at", "id"',
      by_app: '"org_id", "app"',
      by_method: '"org_id", "method"',
      by_status: '"org_id", "verification_status"',
    };
    for (const [name, columns] of Object.entries(indexes)) {
      this.addSql(
        `create index "app_connection_${name}" on "app_connection" (${columns}) where "deleted_at" is null`,
      );
    }
  }
}
