import { type Client, request } from './client.ts';
import { type Extent, type Load, load } from './load.ts';
import type { Asked, Dialect, OperationName } from './operations.ts';
import type { Started } from './processes.ts';
import type { ServerName } from './servers.ts';
import type { Stage } from './stage.ts';

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
export interface Measured {
  operation: OperationName;
  rounds: Map<ServerName, Round[]>;
}

/** The number of connections that are read in turn. */
const readInTurn = 100;
const warmUpSeconds = 12;

/** Measures one operation on all servers in turns. */
export async function measure(stage: Stage, operation: OperationName, options: Rounds): Promise<Measured> {
  const takes = stage.running.map((server) => {
    const requests = requestsOf(stage, server.dialect, operation);
    return [server.name, (seconds: number) => takeRound(server, { seconds }, requests)] as const;
  });
  return { operation, rounds: await inTurns(new Map(takes), options) };
}

/** Runs measurements in turns after a warm-up; each round starts with another one. */
export async function inTurns<Name extends string, Seen>(
  takes: ReadonlyMap<Name, (seconds: number) => Promise<Seen>>,
  { rounds, seconds }: Rounds,
): Promise<Map<Name, Seen[]>> {
  const all = [...takes];
  for (const [, take] of all) await take(warmUpSeconds);
  const seen = new Map<Name, Seen[]>(all.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % all.length;
    for (const [name, take] of [...all.slice(first), ...all.slice(0, first)]) {
      seen.get(name)?.push(await take(seconds));
    }
  }
  return seen;
}

/**
 * Measures one server for one round.
 *
 * @throws when a response is wrong, because a fast error is not a valid measurement
 */
export async function takeRound(
  server: Client & Started & { name: string },
  extent: Extent,
  requests: (Asked | (() => Asked))[],
): Promise<Round> {
  const before = server.cpuSeconds();
  const seen = await load(server.url, extent, server.headers, requests);
  const cpuSeconds = server.cpuSeconds() - before;
  if (seen.failures === 0) return { ...seen, cpuSeconds };
  const first = requests[0];
  const asked = typeof first === 'function' ? first() : first;
  throw new Error(
    `${server.name} answered ${seen.failures} requests incorrectly, such as ${asked?.body ?? asked?.path}`,
  );
}

let made = 0;

/** The requests for an operation, which are sent repeatedly. */
export function requestsOf(
  { ids, oktaUrl }: Pick<Stage, 'ids' | 'oktaUrl'>,
  dialect: Dialect,
  operation: OperationName,
): (Asked | (() => Asked))[] {
  switch (operation) {
    case 'read':
      return ids.slice(0, readInTurn).map((id) => request(dialect, 'read', id));
    case 'list':
      return [request(dialect, 'list', undefined)];
    case 'create':
      return [
        () => {
          made += 1;
          return request(dialect, 'create', {
            name: `under-load-${made}`,
            description: 'Made under load.',
            credentials: { instanceUrl: oktaUrl, apiToken: `token-under-load-${made}` },
          });
        },
      ];
  }
}
