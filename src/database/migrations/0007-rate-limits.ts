import { Migration } from '@mikro-orm/migrations';

const system = 'app_connections_system';

/** What servers count together. It is of no organisation, so that those who serve one may not so much as read it. */
export class RateLimits extends Migration {
  override up(): void {
    this.addSql(`create table "rate_limit" (
        "key" text not null,
        "points" int not null,
        "expire" bigint not null,
        primary key ("key")
      )`);
    this.addSql(`grant select, insert, update, delete on "rate_limit" to "${system}"`);
    this.addSql(
      `create policy "rate_limit_system" on "rate_limit" to "${system}" using (true) with check (true)`,
    );
    this.addSql(`alter table "rate_limit" enable row level security`);
    this.addSql(`alter table "rate_limit" force row level security`);
  }
}
