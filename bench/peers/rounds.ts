import { buildRequest, type Client } from './client.ts';
import type { ComparedServers, Organisation, Running } from './fixture.ts';
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
  /** By default 12, while V8 compiles the code that a create runs. */
  warmUpSeconds?: number;
}

/** The measurements of one operation: the rounds of each server. Rounds with the same index are compared. */
export interface OperationRounds {
  operation: OperationName;
  /** With one organisation. */
  rounds: Map<ServerName, Round[]>;
  /** With all organisations in turn. */
  roundsOfAll: Map<ServerName, Round[]>;
}

/** The number of connections that are read in turn. */
const readInTurn = 100;
const defaultWarmUpSeconds = 12;

/** Measures one operation on all servers in turns, with one organisation and with all. */
export async function measure(
  servers: ComparedServers,
  operation: OperationName,
  options: Rounds,
): Promise<OperationRounds> {
  const { organisations, running } = servers;
  const measurement = (server: Running, chosen: readonly Organisation[]) => {
    const requests = buildRequests(servers, server.dialect, operation, chosen);
    return (seconds: number) => measureRound(server, { seconds }, requests);
  };
  const measurements = running.flatMap((server) => [
    [`${server.name}, one`, measurement(server, organisations.slice(0, 1))] as const,
    [`${server.name}, all`, measurement(server, organisations)] as const,
  ]);
  const results = await measureInTurns(new Map(measurements), options);
  const roundsWith = (which: 'one' | 'all') =>
    new Map(running.map(({ name }) => [name, results.get(`${name}, ${which}`) ?? []]));
  return { operation, rounds: roundsWith('one'), roundsOfAll: roundsWith('all') };
}

/** Runs measurements in turns after a warm-up; each round starts with another one. */
export async function measureInTurns<Name extends string, Result>(
  measurements: ReadonlyMap<Name, (seconds: number) => Promise<Result>>,
  { rounds, seconds, warmUpSeconds = defaultWarmUpSeconds }: Rounds,
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

/**
 * The requests for an operation, which are sent repeatedly.
 *
 * @param organisations those whose requests are sent in turn; by default the first
 */
export function buildRequests(
  servers: Pick<ComparedServers, 'organisations' | 'oktaUrl'>,
  dialect: Dialect,
  operation: OperationName,
  organisations: readonly Organisation[] = servers.organisations.slice(0, 1),
): (BenchRequest | (() => BenchRequest))[] {
  const by = ({ key }: Organisation, request: BenchRequest) => ({
    ...request,
    headers: { authorization: `Bearer ${key}` },
  });
  switch (operation) {
    case 'read':
      return Array.from({ length: readInTurn / organisations.length }, (_, index) =>
        organisations.map((each) => by(each, buildRequest(dialect, 'read', each.ids[index] ?? ''))),
      ).flat();
    case 'list':
      return organisations.map((each) => by(each, buildRequest(dialect, 'list', undefined)));
    case 'create':
      return [
        () => {
          createCount += 1;
          const organisation = organisations[createCount % organisations.length] as Organisation;
          return by(
            organisation,
            buildRequest(dialect, 'create', {
              name: `under-load-${createCount}`,
              description: 'Created under load.',
              credentials: {
                instanceUrl: servers.oktaUrl,
                apiToken: `token-under-load-${createCount}`,
              },
            }),
          );
        },
      ];
  }
}
