import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { administer, emptyDatabase, testDatabaseUrl, withoutPooler } from './testkit/database.ts';
import { errorOfStart, startProgram } from './testkit/in-process.ts';
import { temporaryFolder } from './testkit/process.ts';

describe('database roles', () => {
  it.runIf(testDatabaseUrl)(
    'the SQL in docs/operations/postgresql.md suffices for a database user without CREATEROLE',
    async () => {
      await using stack = new AsyncDisposableStack();
      const url = withoutPooler(stack.use(await emptyDatabase())).url.reveal();
      const user = `test_${randomUUID().replaceAll('-', '')}`;
      await administer(`create role ${user} login password 'p&w'`);
      stack.defer(async () => {
        await administer(`drop owned by ${user}`, url);
        await administer(`drop role ${user}`);
      });
      const limited = new URL(url);
      limited.username = user;
      limited.password = 'p%26w';
      const data = stack.use(temporaryFolder());
      const settings = { DATA_DIR: data.path, DATABASE_URL: limited.href };

      const page = readFileSync(new URL('../docs/operations/postgresql.md', import.meta.url), 'utf8');
      const [, sql = ''] = /^```sql\n(create role.*?)^```$/ms.exec(page) ?? [];
      // Roles belong to the whole PostgreSQL cluster, and other tests create them.
      const grants = sql.split('\n').filter((line) => /^(grant|create schema) /.test(line));
      expect(grants).toHaveLength(3);
      for (const grant of grants) {
        expect(await errorOfStart(settings)).toMatch(
          /DATABASE_URL: this user may not create tables or roles/,
        );
        await administer(grant.replace('the_user_of_database_url', user), url);
      }
      const server = stack.use(startProgram(settings));
      expect((await fetch(`${await server.ready()}/health/ready`)).status).toBe(200);
    },
    120_000,
  );
});
