import { until } from './process.ts';
import type { TestServer } from './server.ts';

/**
 * Waits until connections have a time in the schedule of checks, and moves it into the past: the clock of the checks is that of the
 * rows. Connections of a disabled organisation get no time.
 */
export function makeDue(server: Pick<TestServer, 'asOwner'>, ...ids: string[]): Promise<void> {
  return moveChecks(server, ids, "now() - interval '1 minute'");
}

/**
 * Waits until connections have a time in the schedule of checks, and sets another one.
 *
 * @param to an expression of SQL
 */
export async function moveChecks(
  server: Pick<TestServer, 'asOwner'>,
  ids: readonly string[],
  to: string,
): Promise<void> {
  await until('a time in the schedule', async () => {
    const [row] = await server.asOwner().execute<[{ moved: number }]>(
      `with moved as (update app_connection set next_check_at = ${to}
          where id in (?) and next_check_at is not null returning 1)
          select count(*)::int as moved from moved`,
      [ids],
    );
    return row.moved === ids.length ? true : undefined;
  });
}
