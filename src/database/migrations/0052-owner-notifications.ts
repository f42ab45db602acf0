import { Migration } from '@mikro-orm/migrations';

/**
 * Adds the recipients of messages to owners of connections, and allows one endpoint for these messages in an organisation. MACs of
 * existing rows stay valid, because they omit null values.
 */
export class OwnerNotifications extends Migration {
  override up(): void {
    this.addSql(`alter table "webhook_message" add column "recipient" text null`);
    this.addSql(
      `create index "webhook_message_recipient" on "webhook_message" ("endpoint_id", "recipient") where "recipient" is not null`,
    );
    this.addSql(
      `create unique index "webhook_endpoint_owners" on "webhook_endpoint" ("org_id") where "url" = 'owners:'`,
    );
  }
}
