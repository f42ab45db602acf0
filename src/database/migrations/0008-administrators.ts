import { Migration } from '@mikro-orm/migrations';

/**
 * Before keys could be made, an organisation had one, its administrator's, with the scopes that there were at the time.
 * An organisation in which no key ever had `access:admin` is that old, and its first key gets every scope.
 */
export class Administrators extends Migration {
  override up(): void {
    this.addSql(`set local role "app_connections_system"`);
    this.addSql(`update "api_key"
      set "scopes" = '{connections:read,connections:write,connections:verify,audit:read,access:admin}'
      where "id" in (
        select distinct on ("org_id") "id" from "api_key" as "first"
          where not exists (
            select from "api_key" where "org_id" = "first"."org_id" and "scopes" @> '{access:admin}'
          )
          order by "org_id", "created_at", "id"
      )`);
    this.addSql(`set local role none`);
  }
}
