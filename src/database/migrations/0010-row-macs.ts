import { Migration } from '@mikro-orm/migrations';

const system = 'app_connections_system';
const tables = ['api_key', 'app_connection', 'audit_head', 'data_key', 'idempotent_request', 'project'];

/**
 * Adds MACs to rows that security depends on, and the creator to API keys. SQL cannot compute MACs, so the server adds those
 * of existing rows once it has its keys (`src/integrity/sign-rows.ts`), and then forbids null.
 */
export class RowMacs extends Migration {
  override up(): void {
    this.addSql(`alter table "api_key" add column "created_by" text null`);
    for (const table of tables) this.addSql(`alter table "${table}" add column "mac" text null`);
    this.addSql(`grant update on "project", "idempotent_request" to "${system}"`);
    this.addSql(`set local role "${system}"`);
    this.addSql(`update "api_key" set "created_by" = coalesce('key:' || "key_id", 'subject:' || "subject")
      from "audit_event"
      where "audit_event"."org_id" = "api_key"."org_id" and "api_key_id" = "api_key"."id"
        and "action" = 'CREATE_API_KEY' and "outcome" = 'OK'`);
    this.addSql(
      `select set_config('app_connections.is_empty', (not exists (select from "organisation")
        and not exists (select from "data_key"))::text, true)`,
    );
    this.addSql(`set local role none`);
    const forbidNull = tables.map((table) => `alter table "${table}" alter column "mac" set not null;`);
    this.addSql(`do $$ begin
      if current_setting('app_connections.is_empty')::boolean then
        ${forbidNull.join('\n')}
      end if;
    end $$`);
  }
}
