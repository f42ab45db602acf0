import { loadPg } from './pg.ts';

/**
 * Finds out whether a pooler or another proxy stands between the server and PostgreSQL. It announces a process id of its own,
 * not that of the backend.
 */
export async function isBehindPooler(connectionString: string, timeoutMs: number): Promise<boolean> {
  const { Client } = loadPg();
  const client = new Client({
    connectionString,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
  });
  // A lost connection fails the statement too, and an error without a listener ends the process.
  client.on('error', () => {});
  await client.connect();
  try {
    const { rows } = await client.query('select pg_backend_pid() as pid');
    return (rows[0] as { pid: number }).pid !== client.processID;
  } finally {
    await client.end();
  }
}
