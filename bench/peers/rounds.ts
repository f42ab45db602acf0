import { type Client, request } from './client.ts';
import { type Extent, type Load, load } from './load.ts';
import type { Asked, Dialect, OperationName } from './operations.ts';
import type { Started } from './processes.ts';
import type { ServerName } from './servers.ts';
import type { Stage } from './stage.ts';

/** What was seen of one server in one round. */
export interface Round extends Load {
  /** Of the processor, by the server itself, for all its answers. */
  cpuSeconds: number;
}

/** How many rounds, and how long each is. */
export interface Rounds {
  rounds: number;
  seconds: number;
}

/** What was seen of one operation: the rounds of each server, of which those with the same index go together. */
export interface Measured {
  operation: OperationName;
  rounds: Map<ServerName, Round[]>;
}

/** Reads go through as many connections as this in turn. */
const readInTurn = 100;
const warmUpSeconds = 12;

/** Asks all servers for one operation, in turns. */
export async function measure(stage: Stage, operation: OperationName, options: Rounds): Promise<Measured> {
  const takes = stage.running.map((server) => {
    const requests = requestsOf(stage, server.dialect, operation);
    return [server.name, (seconds: number) => takeRound(server, { seconds }, requests)] as const;
  });
  return { operation, rounds: await inTurns(new Map(takes), options) };
}

/** Takes one after the other, in rounds of which each begins with another; before that, each is warmed up. */
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
 * Asks one server, and sees what it has used for that.
 *
 * @throws when an answer was not what was asked for: a fast error is no result
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
    `${server.name} did not answer ${seen.failures} requests as it should, such as ${asked?.body ?? asked?.path}`,
  );
}

let made = 0;

/** What a server is asked over and over. */
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
