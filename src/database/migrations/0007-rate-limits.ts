import { Migration } from '@mikro-orm/migrations';

const system = 'app_connections_system';

/** Adds the shared counters of rate limits. They belong to no organisation, so the tenant role has no access to them. */
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
