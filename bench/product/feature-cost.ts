import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Fixture, Running } from '../peers/fixture.ts';
import { type OperationName, operationNames } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { buildRequests, measureInTurns, measureRound, type Round, type Rounds } from '../peers/rounds.ts';
import { cpuSecondsPer1000, formatQuartiles, median, ratiosPerRound, table } from '../peers/summary.ts';

/** A feature, and how to start the product without it. */
interface Feature {
  title: string;
  environment?: Record<string, string>;
  /** Settings that turn on the feature, of the server with it. */
  on?: Record<string, string>;
  /** The script that starts a server without the feature. */
  script?: URL;
  /** `false` removes row-level security. */
  hasRowLevelSecurity?: false;
  /** By default all operations. */
  operations?: OperationName[];
}

const without = new URL('servers/without.ts', import.meta.url);

const features: Feature[] = [
  { title: 'rate limits', environment: { RATE_LIMITS: 'off' } },
  { title: 'log', environment: { LOG_LEVEL: 'silent' } },
  { title: 'row-level security', hasRowLevelSecurity: false },
  { title: 'document limits', script: without, environment: { WITHOUT: 'document-limits' } },
  {
    title: 'audit trail',
    script: without,
    environment: { WITHOUT: 'audit-trail' },
    operations: ['create'],
  },
  {
    title: 'all of these',
    script: without,
    environment: { WITHOUT: 'document-limits,audit-trail', RATE_LIMITS: 'off', LOG_LEVEL: 'silent' },
    hasRowLevelSecurity: false,
  },
];

/** Code that only makes the server faster. */
const optimisations: Feature[] = [
  { title: 'fast path', script: without, environment: { WITHOUT: 'fast-path' } },
  { title: 'prepared statements', script: without, environment: { WITHOUT: 'prepared-statements' } },
];

/** Measures the cost of features: with everything, and without one of them at a time. */
export function measureFeatures(fixture: Fixture, options: Rounds): Promise<string> {
  return measureWithout(features, fixture, options);
}

/** Measures what optimisations gain: with all of them, and without one of them at a time. */
export function measureOptimisations(fixture: Fixture, options: Rounds): Promise<string> {
  return measureWithout(optimisations, fixture, options);
}

/** Measures the cost of traces, all of which are sent to a receiver that accepts them. */
export async function measureTraces(fixture: Fixture, options: Rounds): Promise<string> {
  await using receiver = await startSink();
  const on = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url };
  const report = await measureWithout([{ title: 'traces', on }], fixture, options);
  return `${report}\n\nThe receiver has got ${Math.round(receiver.bytes() / 2 ** 20)} MiB.`;
}

/** A server that accepts everything. */
async function startSink(): Promise<AsyncDisposable & { url: string; bytes(): number }> {
  let bytes = 0;
  const http = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => (bytes += chunk.length));
    request.once('end', () => response.end());
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    bytes: () => bytes,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

async function measureWithout(
  features: readonly Feature[],
  fixture: Fixture,
  options: Rounds,
): Promise<string> {
  const rows = new Map<OperationName, string[][]>(operationNames.map((operation) => [operation, []]));
  for (const [index, feature] of features.entries()) {
    const { title, environment, on, script, hasRowLevelSecurity, operations = operationNames } = feature;
    const { databases, settings } = fixture;
    // Each pair has new servers, so that both have processed the same number of requests.
    await using full = await fixture.serve('with', await databases.copy(`with_${index}`), {
      environment: { ...settings, ...on },
    });
    await using less = await fixture.serve(
      'without',
      await databases.copy(`without_${index}`, hasRowLevelSecurity),
      {
        ...(script && { script }),
        environment: { ...settings, ...environment },
      },
    );
    for (const operation of operations) {
      const requests = buildRequests(fixture, full.dialect, operation);
      const measureServer = (server: Running<string>) => (seconds: number) =>
        measureRound(server, { seconds }, requests);
      const results = await measureInTurns(
        new Map([
          ['with', measureServer(full)],
          ['without', measureServer(less)],
        ]),
        options,
      );
      rows.get(operation)?.push(formatRow(title, results.get('with') ?? [], results.get('without') ?? []));
    }
  }
  return [...rows]
    .map(([operation, own]) =>
      table(
        [
          `${titles[operation]}: without`,
          'requests/s with',
          'without',
          'with ÷ without',
          'CPU s per 1,000 with',
          'without',
          'with ÷ without',
        ],
        own,
      ),
    )
    .join('\n\n');
}

function formatRow(title: string, full: Round[], less: Round[]): string[] {
  const both = (quantity: (round: Round) => number, digits: number) => [
    median(full.map(quantity)).toFixed(digits),
    median(less.map(quantity)).toFixed(digits),
    formatQuartiles(ratiosPerRound(full, less, quantity)),
  ];
  return [title, ...both(({ perSecond }) => perSecond, 0), ...both(cpuSecondsPer1000, 2)];
}
