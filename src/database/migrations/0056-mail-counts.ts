import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** Adds the counts of e-mails to each address. */
export class MailCounts extends Migration {
  override up(): void {
    this.addSql(`create table "mail_count" (
        "org_id" uuid not null,
        "address" text not null,
        "since" timestamptz(3) not null,
        "sent" int not null,
        primary key ("org_id", "address")
      )`);
    this.addSql(`create index "mail_count_since" on "mail_count" ("since")`);
    this.addSql(
      `alter table "mail_count" add constraint "mail_count_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(`grant select, insert, update on "mail_count" to "${tenant}"`);
    this.addSql(`grant select, delete on "mail_count" to "${system}"`);
    const own = `"org_id" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
    this.addSql(
      `create policy "mail_count_tenant" on "mail_count" to "${tenant}" using (${own}) with check (${own})`,
    );
    this.addSql(
      `create policy "mail_count_system" on "mail_count" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "mail_count" enable row level security`);
    this.addSql(`alter table "mail_count" force row level security`);
  }
}
