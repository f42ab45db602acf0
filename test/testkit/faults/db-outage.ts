import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Secret } from '../../../src/common/secret.ts';
import { temporaryFolder, until } from '../process.ts';
import { rootKey } from '../root-key.ts';
import type { Violations } from './check.ts';
import { makeCluster } from './cluster.ts';
import { lookInto } from './invariants.ts';
import { type MutationResponse, sendMutation, tryToCreate } from './load.ts';
import { LogEntry, OperationLog } from './operation-log.ts';
import { ServerProcesses } from './processes.ts';

/** The responses of a server during an outage of PostgreSQL. */
export interface OutageReport {
  /** The number of responses by error code; `data` counts successful ones. */
  codes: Record<string, number>;
  /** The number of mutations that were acknowledged while PostgreSQL was away. */
  acknowledged: number;
  /** The longest response time, in milliseconds. */
  slowestMs: number;
  /** The time from the return of PostgreSQL until the server was ready and created a connection, in milliseconds. */
  backAfterMs: number;
  findings: Violations;
}

/**
 * Interrupts PostgreSQL while a server receives requests, and restores it.
 *
 * @param how `stopped`: connections are refused; `frozen`: they stay open, and nothing is answered
 */
export async function simulateOutage(how: 'stopped' | 'frozen', ms: number): Promise<OutageReport> {
  await using cluster = await makeCluster();
  using folder = temporaryFolder();
  const keys = rootKey('first');
  const settings = { DATABASE_URL: cluster.url, DATA_DIR: folder.path, ENCRYPTION_KEYS: keys };
  await using fleet = new ServerProcesses(settings);
  await fleet.start(1);
  const [url = ''] = fleet.urls();
  const journal = new OperationLog();
  const createConnection = () => {
    const entry = new LogEntry(`away-${randomUUID()}`);
    journal.entries.push(entry);
    return tryToCreate(url, fleet.apiKey, entry);
  };
  const first = await createConnection();
  if (!first?.data?.change) throw new Error(`The first change failed: ${JSON.stringify(first)}`);

  await (how === 'stopped' ? cluster.kill() : cluster.freeze());
  const responses: { answer: MutationResponse | undefined; waitedMs: number; isChange: boolean }[] = [];
  const requests: Promise<void>[] = [];
  const sendTimed = async (isChange: boolean) => {
    const start = performance.now();
    const answer = await (isChange
      ? createConnection()
      : sendMutation(url, fleet.apiKey, '{ appConnections { totalCount } }'));
    responses.push({ answer, waitedMs: performance.now() - start, isChange });
  };
  const end = performance.now() + ms;
  while (performance.now() < end) {
    requests.push(sendTimed(true), sendTimed(false));
    await sleep(250);
  }
  const countWhileAway = responses.length;
  await (how === 'stopped' ? cluster.start() : cluster.thaw());
  const returnedAt = performance.now();
  await until('the server is ready again and makes connections', async () => {
    const health = await fetch(`${url}/health/ready`);
    return health.ok && (await createConnection())?.data?.change ? true : undefined;
  });
  const backAfterMs = performance.now() - returnedAt;
  await Promise.all(requests);
  await fleet.stop();

  const codes: Record<string, number> = {};
  for (const { answer } of responses) {
    const code = answer?.errors?.[0]?.extensions.code ?? (answer ? 'data' : 'no answer');
    codes[code] = (codes[code] ?? 0) + 1;
  }
  return {
    codes,
    acknowledged: responses
      .slice(0, countWhileAway)
      .filter(({ answer, isChange }) => isChange && answer?.data?.change).length,
    slowestMs: Math.max(...responses.map(({ waitedMs }) => waitedMs)),
    backAfterMs,
    findings: await lookInto(journal, { kind: 'postgresql', url: new Secret(cluster.url) }, keys),
  };
}
