import { Migration } from '@mikro-orm/migrations';

/** Adds the connections that an API key is limited to. Existing keys are not limited, and their MACs stay valid. */
export class KeyConnections extends Migration {
  override up(): void {
    this.addSql(`alter table "api_key" add column "connection_ids" uuid[] null`);
  }
}
