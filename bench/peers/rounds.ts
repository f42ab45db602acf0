import { buildRequest, type Client } from './client.ts';
import type { ComparedServers } from './fixture.ts';
import { type Extent, type Load, load } from './load.ts';
import type { BenchRequest, Dialect, OperationName } from './operations.ts';
import type { Started } from './processes.ts';
import type { ServerName } from './servers.ts';

/** The measurements of one server in one round. */
export interface Round extends Load {
  /** Processor time of the server for all its responses, in seconds. */
  cpuSeconds: number;
}

/** The number of rounds and their length. */
export interface Rounds {
  rounds: number;
  seconds: number;
}

/** The measurements of one operation: the rounds of each server. Rounds with the same index are compared. */
export interface OperationRounds {
  operation: OperationName;
  rounds: Map<ServerName, Round[]>;
}

/** The number of connections that are read in turn. */
const readInTurn = 100;
const warmUpSeconds = 12;

/** Measures one operation on all servers in turns. */
export async function measure(
  servers: ComparedServers,
  operation: OperationName,
  options: Rounds,
): Promise<OperationRounds> {
  const measurements = servers.running.map((server) => {
    const requests = buildRequests(servers, server.dialect, operation);
    return [server.name, (seconds: number) => measureRound(server, { seconds }, requests)] as const;
  });
  return { operation, rounds: await measureInTurns(new Map(measurements), options) };
}

/** Runs measurements in turns after a warm-up; each round starts with another one. */
export async function measureInTurns<Name extends string, Result>(
  measurements: ReadonlyMap<Name, (seconds: number) => Promise<Result>>,
  { rounds, seconds }: Rounds,
): Promise<Map<Name, Result[]>> {
  const all = [...measurements];
  for (const [, measureOnce] of all) await measureOnce(warmUpSeconds);
  const results = new Map<Name, Result[]>(all.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % all.length;
    for (const [name, measureOnce] of [...all.slice(first), ...all.slice(0, first)]) {
      results.get(name)?.push(await measureOnce(seconds));
    }
  }
  return results;
}

/**
 * Measures one server for one round.
 *
 * @throws when a response is wrong, because a fast error is not a valid measurement
 */
export async function measureRound(
  server: Client & Started & { name: string },
  extent: Extent,
  requests: (BenchRequest | (() => BenchRequest))[],
): Promise<Round> {
  const before = server.cpuSeconds();
  const result = await load(server.url, extent, server.headers, requests);
  const cpuSeconds = server.cpuSeconds() - before;
  if (result.failures === 0) return { ...result, cpuSeconds };
  const first = requests[0];
  const example = typeof first === 'function' ? first() : first;
  throw new Error(
    `${server.name} answered ${result.failures} requests incorrectly, such as ${example?.body ?? example?.path}`,
  );
}

let createCount = 0;

/** The requests for an operation, which are sent repeatedly. */
export function buildRequests(
  { ids, oktaUrl }: Pick<ComparedServers, 'ids' | 'oktaUrl'>,
  dialect: Dialect,
  operation: OperationName,
): (BenchRequest | (() => BenchRequest))[] {
  switch (operation) {
    case 'read':
      return ids.slice(0, readInTurn).map((id) => buildRequest(dialect, 'read', id));
    case 'list':
      return [buildRequest(dialect, 'list', undefined)];
    case 'create':
      return [
        () => {
          createCount += 1;
          return buildRequest(dialect, 'create', {
            name: `under-load-${createCount}`,
            description: 'Created under load.',
            credentials: { instanceUrl: oktaUrl, apiToken: `token-under-load-${createCount}` },
          });
        },
      ];
  }
}
