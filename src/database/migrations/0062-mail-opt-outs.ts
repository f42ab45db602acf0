import { Migration } from '@mikro-orm/migrations';

const tenant = 'app_connections_tenant';
const system = 'app_connections_system';

/** Adds the addresses whose owners want no e-mails of an organisation. */
export class MailOptOuts extends Migration {
  override up(): void {
    this.addSql(`create table "mail_opt_out" (
        "org_id" uuid not null,
        "address" text not null,
        "at" timestamptz(3) not null,
        primary key ("org_id", "address")
      )`);
    this.addSql(
      `alter table "mail_opt_out" add constraint "mail_opt_out_org_id_foreign" foreign key ("org_id") references "organisation" ("id")`,
    );
    this.addSql(`grant select, insert, delete on "mail_opt_out" to "${tenant}"`);
    this.addSql(`grant select, delete on "mail_opt_out" to "${system}"`);
    const own = `"org_id" = nullif(current_setting('app_connections.org_id', true), '')::uuid`;
    this.addSql(
      `create policy "mail_opt_out_tenant" on "mail_opt_out" to "${tenant}" using (${own}) with check (${own})`,
    );
    this.addSql(
      `create policy "mail_opt_out_system" on "mail_opt_out" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "mail_opt_out" enable row level security`);
    this.addSql(`alter table "mail_opt_out" force row level security`);
  }
}
