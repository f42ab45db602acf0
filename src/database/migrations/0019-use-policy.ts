import { Migration } from '@mikro-orm/migrations';

/** Adds the use policy of a connection. Without one, that of new connections applies. */
export class UsePolicy extends Migration {
  override up(): void {
    this.addSql(`alter table "app_connection" add column "use_policy" jsonb null`);
  }
}
