import { Migration } from '@mikro-orm/migrations';

/**
 * Gives every scope to the first API key of old organisations. They had a single key, the administrator's, with the scopes
 * of that time. An organisation in which no key has `access:admin` is that old.
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
