/**
 * Applies the migrations of this version, as a server does at its start: `app-connections migrate`. A deployment can run it
 * with a user that owns the tables, before the servers start.
 */
import { commandLine } from '../common/command-name.ts';
import { lazyScopedEntityManager, ownerSession } from '../database/driver/session.ts';
import { defineProgram } from './program.ts';
import { withStores } from './with-stores.ts';

/** Runs `app-connections migrate`. */
export const run = defineProgram(
  {
    usage: `${commandLine('migrate', '[--json]')}\n    Apply the migrations of this version.`,
    options: { json: { type: 'boolean' } },
    failure: 'Cannot migrate',
  },
  ({ json }, invocation) =>
    withStores(invocation, async ({ database }) => {
      const em = lazyScopedEntityManager(() => database.asSystem().fork(), ownerSession);
      const rows: { name: string }[] = await em.execute(
        `select "name" from "mikro_orm_migrations" where "name" ~ '^[0-9]{4}-' order by "name"`,
      );
      const migrations = rows.map((row) => row.name);
      const { terminal } = invocation;
      if (json) terminal.log(JSON.stringify({ migrations }));
      else terminal.log(`The database has all ${migrations.length} migrations, up to ${migrations.at(-1)}.`);
      return 0;
    }),
);
