import { request } from './client.ts';
import { type Load, load } from './load.ts';
import type { OperationName } from './operations.ts';
import type { ServerName } from './servers.ts';
import type { Running, Stage } from './stage.ts';

/** What was seen of one server in one round. */
export interface Round extends Load {
  /** Of the processor, by the server itself, for all its answers. */
  cpuSeconds: number;
}

/** What was seen of one operation: the rounds of each server, of which those with the same index go together. */
export interface Measured {
  operation: OperationName;
  rounds: Map<ServerName, Round[]>;
}

/** Reads go through as many connections as this in turn. */
const readInTurn = 100;
const warmUpSeconds = 3;

/** Asks all servers for one operation, in turns, of which each round begins with another. */
export async function measure(
  stage: Stage,
  operation: OperationName,
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<Measured> {
  const { running } = stage;
  for (const server of running) await loadOnce(stage, server, operation, warmUpSeconds);
  const measured = new Map<ServerName, Round[]>(running.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % running.length;
    for (const server of [...running.slice(first), ...running.slice(0, first)]) {
      const before = server.cpuSeconds();
      const seen = await loadOnce(stage, server, operation, seconds);
      measured.get(server.name)?.push({ ...seen, cpuSeconds: server.cpuSeconds() - before });
    }
  }
  return { operation, rounds: measured };
}

async function loadOnce(
  stage: Stage,
  server: Running,
  operation: OperationName,
  seconds: number,
): Promise<Load> {
  const { url, headers } = server;
  const seen = await load(url, seconds, headers, requestsOf(stage, server, operation));
  if (seen.failures === 0) return seen;
  throw new Error(
    `${server.name} did not answer ${seen.failures} of its requests to ${operation} as it should`,
  );
}

let made = 0;

function requestsOf({ ids, oktaUrl }: Stage, { dialect }: Running, operation: OperationName) {
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
