import { loadPg } from './driver/pg.ts';
import { suspicionMs } from './driver/primary-client.ts';
import { roles } from './driver/session.ts';
import { ReadOnlyServerError, writabilityColumns } from './find-server.ts';
import type { Primary } from './primary.ts';

/** The time limit of a readiness check, connecting included, in milliseconds. */
export const probeTimeoutMs = 1_000;

/** `lock_timeout` of a probe, in milliseconds. */
const lockTimeoutMs = 500;

/** Commits that wait for a synchronous standby. A statement that was seen to wait twice has waited all the time between. */
const waitingCommitsColumn = `(select array_agg(pid || ' ' || query_start) from pg_stat_activity
  where usename = session_user and wait_event = 'SyncRep') as "waitingCommits"`;

/** What a server says about changes. */
interface WriteFacts {
  isStandby: boolean;
  isReadOnly: boolean;
  /** The ids of statements; null if there are none. */
  waitingCommits: string[] | null;
}

/** Changes do not end, because a synchronous standby does not confirm them. */
class StalledCommitsError extends Error {
  constructor() {
    super('changes wait for a synchronous standby of the database, which does not answer');
  }
}

/** A connection only for readiness checks, so that they never wait for connections that requests hold. */
export interface Probe {
  /**
   * Runs one statement, which has no parameters, under the system role.
   *
   * @throws ReadOnlyServerError if the server accepts no changes, an error if changes wait for a standby, or the driver's error
   */
  query(text: string): Promise<object[]>;
  close(): Promise<void>;
}

/** Opens a probe of a PostgreSQL server. It connects on first use, and again whenever the connection is lost. */
export function openProbe(primary: Primary): Probe {
  const { Pool } = loadPg();
  const pool = new Pool({
    ...primary.server.options,
    Client: primary.Client,
    max: 1,
    connectionTimeoutMillis: probeTimeoutMs,
    query_timeout: probeTimeoutMs,
    idleTimeoutMillis: 60_000,
    allowExitOnIdle: true,
  });
  // An idle connection that is lost is replaced by the next query, and an error without a listener ends the process.
  pool.on('error', () => {});
  /** When each of the commits that wait was first seen, in milliseconds of `performance.now()`. */
  let waitingSince = new Map<string, number>();
  const assertCommitsEnd = (waiting: readonly string[]) => {
    const now = performance.now();
    waitingSince = new Map(waiting.map((id) => [id, waitingSince.get(id) ?? now]));
    if ([...waitingSince.values()].some((since) => now - since >= suspicionMs))
      throw new StalledCommitsError();
  };
  return {
    async query(text) {
      // One message: the settings last as long as the transaction, and the check costs one round trip.
      const results = await pool.query(`select ${writabilityColumns}, ${waitingCommitsColumn};
        begin read only;
        set local role "${roles.system}";
        set local lock_timeout = ${lockTimeoutMs};
        set local statement_timeout = ${probeTimeoutMs};
        ${text};
        commit`);
      const [first, ...rows] = getSelectedRows(results);
      const facts = first as WriteFacts;
      if (facts.isReadOnly) {
        primary.leave();
        throw new ReadOnlyServerError(facts);
      }
      assertCommitsEnd(facts.waitingCommits ?? []);
      return rows;
    },
    close: () => pool.end(),
  };
}

/** The driver returns one result for each statement of a message. */
function getSelectedRows(results: unknown): object[] {
  if (!Array.isArray(results)) return [];
  return results.flatMap(({ command, rows }: { command: string; rows: object[] }) =>
    command === 'SELECT' ? rows : [],
  );
}
