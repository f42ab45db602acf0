import { Migration } from '@mikro-orm/migrations';

/** Adds the API key that created a setup link. MACs of existing rows stay valid, because they omit null values. */
export class SetupLinkCreators extends Migration {
  override up(): void {
    this.addSql(`alter table "connection_setup_link" add column "created_by_key_id" uuid null`);
  }
}
