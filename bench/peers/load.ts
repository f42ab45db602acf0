import autocannon from 'autocannon';
import type { BenchRequest } from './operations.ts';

/** The number of concurrent client connections. */
export const connections = 16;

/** The result of a load. */
export interface Load {
  /** Responses per second within the time limit, if there is one. */
  perSecond: number;
  /** Latencies of the responses within the time limit, in milliseconds. */
  latencies: number[];
  /** All responses, also those after the time limit. */
  responseCount: number;
  /** Wrong responses, and requests without a response. */
  failures: number;
}

/** The duration of a load, or its number of requests. */
export type Extent = { seconds: number } | { amount: number };

/** Sends requests repeatedly. Each connection cycles through the list, and starts at another place. */
export async function load(
  url: string,
  extent: Extent,
  headers: Record<string, string>,
  requests: (BenchRequest | (() => BenchRequest))[],
): Promise<Load> {
  const latencies: number[] = [];
  let responseCount = 0;
  const start = performance.now();
  const seconds = 'seconds' in extent ? extent.seconds : undefined;
  const end = seconds === undefined ? Number.POSITIVE_INFINITY : start + seconds * 1_000;
  const withHeaders = (request: BenchRequest) => ({
    ...request,
    headers: { ...headers, ...request.headers },
  });
  const all = requests.map((request) =>
    typeof request === 'function'
      ? { setupRequest: (defaults: autocannon.Request) => ({ ...defaults, ...withHeaders(request()) }) }
      : withHeaders(request),
  );
  let clients = 0;
  const { errors, non2xx, mismatches } = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon(
      {
        url,
        connections,
        ...('seconds' in extent ? { duration: extent.seconds } : extent),
        // The interval at which autocannon checks the time limit.
        sampleInt: 50,
        requests: all,
        setupClient: (client) => {
          const first = Math.floor((clients * all.length) / connections);
          clients += 1;
          client.setRequests([...all.slice(first), ...all.slice(0, first)]);
        },
        verifyBody: (body) => !body?.includes('"errors"'),
      },
      (error, result) => (error ? reject(error) : resolve(result)),
    );
    run.on('response', (_client, _status, _bytes, milliseconds) => {
      responseCount += 1;
      if (performance.now() <= end) latencies.push(milliseconds);
    });
  });
  return {
    perSecond: latencies.length / (seconds ?? (performance.now() - start) / 1_000),
    latencies,
    responseCount,
    failures: errors + non2xx + mismatches,
  };
}
