import { type OperationName, operationNames } from '../peers/operations.ts';
import { titles } from '../peers/report.ts';
import { inTurns, type Round, type Rounds, requestsOf, takeRound } from '../peers/rounds.ts';
import type { Ground, Running } from '../peers/stage.ts';
import { cpuOfThousand, median, ratiosOf, spread, table } from '../peers/summary.ts';

/** A feature, and how to start the product without it. */
interface Feature {
  title: string;
  environment?: Record<string, string>;
  /** The script that starts a server without the feature. */
  script?: URL;
  /** `false` removes row-level security. */
  isKeptApart?: false;
  /** By default all operations. */
  operations?: OperationName[];
}

const without = new URL('servers/without.ts', import.meta.url);

const features: Feature[] = [
  { title: 'limits on how often', environment: { RATE_LIMITS: 'off' } },
  { title: 'log', environment: { LOG_LEVEL: 'silent' } },
  { title: 'row-level security', isKeptApart: false },
  { title: 'limits on documents', script: without, environment: { WITHOUT: 'document-limits' } },
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
    isKeptApart: false,
  },
];

/** Code that only makes the server faster. */
const optimisations: Feature[] = [
  { title: 'fast path', script: without, environment: { WITHOUT: 'fast-path' } },
  { title: 'prepared statements', script: without, environment: { WITHOUT: 'prepared-statements' } },
];

/** Measures the cost of features: with everything, and without one of them at a time. */
export function measureFeatures(ground: Ground, options: Rounds): Promise<string> {
  return measureWithout(features, ground, options);
}

/** Measures what optimisations gain: with all of them, and without one of them at a time. */
export function measureOptimisations(ground: Ground, options: Rounds): Promise<string> {
  return measureWithout(optimisations, ground, options);
}

async function measureWithout(
  features: readonly Feature[],
  ground: Ground,
  options: Rounds,
): Promise<string> {
  const rows = new Map<OperationName, string[][]>(operationNames.map((operation) => [operation, []]));
  for (const [index, feature] of features.entries()) {
    const { title, environment, script, isKeptApart, operations = operationNames } = feature;
    const { databases, settings } = ground;
    // Each pair has new servers, so that both have processed the same number of requests.
    await using full = await ground.serve('with', await databases.copy(`with_${index}`));
    await using less = await ground.serve('without', await databases.copy(`without_${index}`, isKeptApart), {
      ...(script && { script }),
      environment: { ...settings, ...environment },
    });
    for (const operation of operations) {
      const requests = requestsOf(ground, full.dialect, operation);
      const take = (server: Running<string>) => (seconds: number) => takeRound(server, { seconds }, requests);
      const seen = await inTurns(
        new Map([
          ['with', take(full)],
          ['without', take(less)],
        ]),
        options,
      );
      rows.get(operation)?.push(formatRow(title, seen.get('with') ?? [], seen.get('without') ?? []));
    }
  }
  return [...rows]
    .map(([operation, own]) =>
      table(
        [
          `${titles[operation]}: taken out`,
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
  const both = (what: (round: Round) => number, digits: number) => [
    median(full.map(what)).toFixed(digits),
    median(less.map(what)).toFixed(digits),
    spread(ratiosOf(full, less, what)),
  ];
  return [title, ...both(({ perSecond }) => perSecond, 0), ...both(cpuOfThousand, 2)];
}
