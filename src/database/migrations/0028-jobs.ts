import { Migration } from '@mikro-orm/migrations';
import { pgBoss46 } from './pg-boss-46.ts';

const system = 'app_connections_system';

/**
 * Adds the tables of the job queue, in a schema of their own beside that of the other tables: its name is that of
 * `jobSchema` in `database/job-schema.ts`. Only the system may use it.
 */
export class Jobs extends Migration {
  override up(): void {
    this.addSql(`do $migration$
      declare
        "schema" text := case when current_schema() ~ '^[a-z_][a-z0-9_]{0,44}$'
          then current_schema() || '_jobs' else 'jobs_' || md5(current_schema()) end;
        "table" name;
      begin
        -- An administrator may have created it for a user that may create no schema.
        if to_regnamespace("schema") is null then
          execute format('create schema %I', "schema");
        end if;
        execute replace($pg_boss$${pgBoss46}$pg_boss$, 'pg_boss_schema', "schema");
        execute format('grant usage on schema %I to ${system}', "schema");
        execute format('grant select, insert, update, delete on all tables in schema %I to ${system}', "schema");
        for "table" in
          select relname from pg_class where relnamespace = to_regnamespace("schema") and relkind in ('r', 'p')
        loop
          execute format('create policy system on %I.%I to ${system} using (true) with check (true)', "schema", "table");
          execute format('alter table %I.%I enable row level security', "schema", "table");
          execute format('alter table %I.%I force row level security', "schema", "table");
        end loop;
      end $migration$`);
  }
}
