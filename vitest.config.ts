import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { artefactCommand, sourceOnly, useArtefact } from './test/testkit/artefact.ts';
import SlowFilesFirst from './test/testkit/slow-files-first.ts';
import { times } from './test/testkit/stress.ts';

const testFiles = (...names: string[]) => names.map((name) => `test/${name}.test.ts`);

/** These files start no server and open no database. */
const unit = testFiles(
  'okta-instance-url',
  'rate-budget-property',
  'okta-standin',
  'outbound-import-rule',
  'outbound-proxy',
  'private-key',
  'oauth-client',
  'graphql-schema',
  'outbound-json',
  'secret-mask',
  'control-socket',
);

/** These files test a server in what does not depend on the kind of database: they run once, on the embedded one. */
const http = testFiles(
  'adding-an-app',
  'allowed-instance-hosts',
  'client-ip',
  'api-key-checksum',
  'cors',
  'dashboard*',
  'database-urls',
  'docs*',
  'input-validation',
  'graphql-execution',
  'graphiql',
  'graphql-over-http',
  'http-*',
  'launcher',
  'mutation-payload-scopes',
  'document-limits',
  'abuse',
  'request-logs',
  'oauth-provider',
  'oidc-authentication',
  'oidc-signing-keys',
  'oidc-token-rejection',
  'okta-sdk',
  'app-connection-options',
  'outbound-!(import-rule|proxy)',
  'proxy',
  'proxy-paths',
  'service-app-diagnosis',
  'typed-reads',
  'persisted-queries',
  'rest-openapi',
  'rest-input',
  'reverse-proxies',
  'sign-in-codes',
  'startup-errors',
  'tls',
  'unsubscribe-page',
  'uploads',
  'verification-failures',
  'weak-encryption-keys',
);

/** These files have a process each: they count its objects, expect its clock unchanged, or install the package. */
const alone = testFiles('cache-bounds', 'okta-diagnosis', 'release');

/** These files search for faults, a little in `npm test`, and twenty times as long in `npm run test:stress`. */
const stress = testFiles(
  'graphql-execution',
  'crash-recovery',
  'list-pagination',
  'fuzz',
  'http-requests',
  'model-based',
  'okta-diagnosis',
  'okta-instance-url',
  'property-based',
  'outbound-json',
  'secret-mask',
  'use-policy',
  'rate-budget-property',
  'proxy-paths',
  'encryption',
  'uploads',
);

function project(
  name: string,
  include: string[],
  exclude: string[] = [],
  isolate = false,
): TestProjectInlineConfiguration {
  return {
    plugins: useArtefact(),
    // As Node resolves it: Vite would take graphql's ESM twin, whose classes are strangers to everyone else's.
    resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
    test: {
      name,
      include,
      exclude: [...configDefaults.exclude, ...exclude, ...(artefactCommand ? testFiles(...sourceOnly) : [])],
      // Files share a process if they can, so that each process imports the server, its libraries and PostgreSQL's WebAssembly once.
      isolate,
      // On a busy machine, tests take many times as long, and a hook may build the dashboard or wait for it.
      testTimeout: 60_000 * times,
      hookTimeout: 180_000,
      expect: { poll: { timeout: 30_000 } },
    },
  };
}

/**
 * On the embedded database everything runs, in one project, because projects share no process and each process takes 4 s of
 * processor time to import the server; with a PostgreSQL to test, only what may depend on the kind of database runs.
 */
function projects(): TestProjectInlineConfiguration[] {
  if (times > 1) return [project('stress', stress)];
  const all = ['test/*.test.ts'];
  return process.env.TEST_DATABASE_URL
    ? [project('postgresql', all, [...unit, ...http, ...alone])]
    : [project('embedded', all, alone), project('alone', alone, [], true)];
}

export default defineConfig({
  test: {
    projects: projects(),
    globalSetup: ['test/testkit/global-setup.ts'],
    sequence: { sequencer: SlowFilesFirst },
    reporters: ['default', './test/testkit/slowest-files.ts'],
    // On two cores Vitest would run one file at a time, and files wait as often as they work: four at a time leave a quarter
    // of the processor time unused.
    maxWorkers: Math.max(5, availableParallelism() - 1),
  },
});
