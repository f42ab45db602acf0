import autocannon from 'autocannon';
import type { Asked } from './operations.ts';

/** How many connections ask at the same time. */
export const connections = 16;

/** What came of asking for some time. */
export interface Load {
  /** Answers within the time, if there was one. */
  perSecond: number;
  /** In milliseconds, of the answers within the time. */
  latencies: number[];
  /** All answers, also those that came as the time ran out. */
  answers: number;
  /** Of those, the ones that were not what was asked for, and requests without an answer. */
  failures: number;
}

/** How long to ask, or how often. */
export type Extent = { seconds: number } | { amount: number };

/** Asks one server over and over, each connection going through the requests in turn. */
export async function load(
  url: string,
  extent: Extent,
  headers: Record<string, string>,
  requests: (Asked | (() => Asked))[],
): Promise<Load> {
  const latencies: number[] = [];
  let answers = 0;
  const start = performance.now();
  const seconds = 'seconds' in extent ? extent.seconds : undefined;
  const end = seconds === undefined ? Number.POSITIVE_INFINITY : start + seconds * 1_000;
  const { errors, non2xx, mismatches } = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon(
      {
        url,
        connections,
        ...('seconds' in extent ? { duration: extent.seconds } : extent),
        // How soon it notices that the time is up.
        sampleInt: 50,
        headers,
        requests: requests.map((asked) =>
          typeof asked === 'function' ? { setupRequest: (request) => ({ ...request, ...asked() }) } : asked,
        ),
        verifyBody: (body) => !body?.includes('"errors"'),
      },
      (error, result) => (error ? reject(error) : resolve(result)),
    );
    run.on('response', (_client, _status, _bytes, milliseconds) => {
      answers += 1;
      if (performance.now() <= end) latencies.push(milliseconds);
    });
  });
  return {
    perSecond: latencies.length / (seconds ?? (performance.now() - start) / 1_000),
    latencies,
    answers,
    failures: errors + non2xx + mismatches,
  };
}
